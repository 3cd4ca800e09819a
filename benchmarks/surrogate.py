"""Measures how well a surrogate of recorded curves predicts them, beside the nearest neighbour; writes Markdown.

    python benchmarks/surrogate.py RECORD --output benchmarks/surrogate.md

RECORD is the run directory of a search in which every architecture was trained in full, or its `trials.parquet` with
`epochs.parquet` beside it. `repeats.parquet` in the same folder may hold further trainings of some architectures
(trial_id, seed, epoch, val_accuracy). The surrogate is that of `cellscout simulate --answers surrogate`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.simulation import RecordedCurves, Surrogate, quality_of, quality_of_retraining

Floats = NDArray[np.float64]

RANDOM = 300
"""Random architectures whose answers are compared with the recorded curves."""
RESAMPLES = 200
"""For the 95 % intervals, over the architectures."""
CLIMBS, STEPS, NEIGHBOURS = 5, 10, 100
"""The hill climb: starts at so many of the best, takes so many steps, and sees so many neighbours at each."""


def nearest(recorded: RecordedCurves, scores: Floats) -> Floats:
    """Return the scores of the other candidate that differs from each in the fewest decisions."""
    distance = (recorded.codes[:, None] != recorded.codes[None]).sum(-1)
    np.fill_diagonal(distance, recorded.codes.shape[1] + 1)
    return scores[distance.argmin(1)]


def intervals(predicted: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % intervals of R2 and tau, [bound, epoch], by resampling the candidates."""
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(scores), size=len(scores)) for _ in range(RESAMPLES)]
    found = [quality_of(predicted[rows], scores[rows]) for rows in drawn]
    r2, tau = (np.quantile([getattr(one, name) for one in found], [0.025, 0.975], axis=0) for name in ("r2", "tau"))
    return r2, tau


def quality_table(surrogate: Surrogate, recorded: RecordedCurves, rungs: list[int]) -> Iterator[str]:
    """Yield a row for each rung: the surrogate, the nearest neighbour, and what noise allows."""
    places = [epoch - 1 for epoch in rungs]
    scores = surrogate.recorded_scores[:, places]
    columns = []
    for predicted in (surrogate.validated_scores[:, places], nearest(recorded, scores)):
        quality, (r2, tau) = quality_of(predicted, scores), intervals(predicted, scores)
        columns += [list(map(cell, quality.r2, *r2)), list(map(cell, quality.tau, *tau))]
    if surrogate.trainings:
        again = quality_of_retraining([each[:, places] for each in surrogate.trainings.values()], scores)
        columns += [[f"{value:.2f}" for value in values] for values in (again.r2, again.tau)]
    else:
        columns += [["not known"] * len(rungs)] * 2
    yield "| epoch | surrogate: R2 | tau | nearest: R2 | tau | noise allows: R2 | tau |"
    yield "|---|---|---|---|---|---|---|"
    for epoch, *cells in zip(rungs, *columns, strict=True):
        yield f"| {epoch} | {' | '.join(cells)} |"


def cell(value: float, low: float, high: float) -> str:
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def likeness_table(surrogate: Surrogate, several: list[dict[str, Any]], rungs: list[int]) -> Iterator[str]:
    """Yield a row for each rung: spread and ranking of the recorded curves, and of the answers."""
    answer = surrogate.answers(0)
    answered = np.array([[row.metrics["val_accuracy"] for row in answer(params)] for params in several])
    noiseless = surrogate.mean_curves(several)
    known = surrogate.recorded_scores
    yield "| epoch | recorded: mean | deviation | tau with final | answers: mean | deviation | of it noiseless | tau |"
    yield "|---|---|---|---|---|---|---|---|"
    for place in (epoch - 1 for epoch in rungs):
        cells = [
            *(f"{100 * value:.2f}" for value in (known[:, place].mean(), known[:, place].std())),
            f"{tau_with_final(known, place):.2f}",
            *(f"{100 * value:.2f}" for value in (answered[:, place].mean(), answered[:, place].std())),
            f"{100 * noiseless[:, place].std():.2f}",
            f"{tau_with_final(answered, place):.2f}",
        ]
        yield f"| {place + 1} | {' | '.join(cells)} |"


def tau_with_final(scores: Floats, place: int) -> float:
    return float(quality_of(scores[:, [place]], scores[:, [-1]]).tau[0])


def climb(surrogate: Surrogate, several: list[dict[str, Any]]) -> float:
    """Return the best noiseless final score that hill climbs from the best of some architectures find."""
    generator = np.random.default_rng(0)
    choices = dict(surrogate.space.decisions())
    order = surrogate.mean_curves(several)[:, -1].argsort()[::-1]
    ends = []
    for start in (several[place] for place in order[:CLIMBS]):
        here, height = start, float(surrogate.mean_curves([start])[0, -1])
        for _ in range(STEPS):
            around = [neighbour(here, choices, generator) for _ in range(NEIGHBOURS)]
            heights = surrogate.mean_curves(around)[:, -1]
            if heights.max() > height:
                here, height = around[int(heights.argmax())], float(heights.max())
        ends.append(height)
    return max(ends)


def neighbour(params: Mapping[str, Any], choices: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    """Return the parameters with one of them drawn anew."""
    name = list(choices)[int(generator.integers(len(choices)))]
    return {**params, name: choices[name][int(generator.integers(len(choices[name])))]}


def rungs_of(epochs: int) -> list[int]:
    """Return the rungs of ASHA with a reduction factor of 3, and the last epoch."""
    return [rung for rung in (3**power for power in range(9)) if rung < epochs] + [epochs]


def timing(recorded: RecordedCurves, several: list[dict[str, Any]]) -> tuple[Surrogate, str]:
    """Return the surrogate, and what fit and answers took of the processor's time."""
    begun = time.process_time()
    surrogate = Surrogate(recorded)
    fitted = time.process_time()
    answer = surrogate.answers(0)
    for params in several:
        answer(params)
    taken = (time.process_time() - fitted) / len(several)
    return surrogate, f"The fit took {fitted - begun:.1f} s of processor time, an answer {1000 * taken:.1f} ms."


def text(recorded: RecordedCurves) -> Iterator[str]:
    """Yield the paragraphs."""
    generator = np.random.default_rng(0)
    space = recorded.space
    several = [space.encode(space.sample(generator)) for _ in range(RANDOM)]
    surrogate, took = timing(recorded, several)
    rungs = rungs_of(surrogate.epochs)
    finals = surrogate.mean_curves(several)[:, -1]
    count = len(surrogate.recorded_scores)
    yield (
        f"{count} recorded architectures of {surrogate.epochs} epochs. Cross-validated R2 and Kendall's tau of the "
        f"validation accuracy, with 95 % intervals over the architectures. *surrogate*: each architecture is predicted "
        "by a model that has not seen it. *nearest*: by the recorded architecture, other than itself, that differs in "
        "the fewest decisions. *noise allows*: R2 of a model that knows the mean of each architecture; tau between two "
        "trainings of the same architectures (a perfect model would reach somewhat more)."
    )
    yield "\n".join(quality_table(surrogate, recorded, rungs))
    yield verdict(surrogate)
    yield (
        f"The logarithm of the seconds of an epoch is predicted with R2 {surrogate.quality_of_seconds.r2[0]:.2f} and "
        f"tau {surrogate.quality_of_seconds.tau[0]:.2f}. {took}"
    )
    yield (
        f"The recorded curves, and the answers to {RANDOM} random architectures, in points of accuracy. If they are "
        "alike, a scheduler meets the same difficulty in a simulation as in a search. *of it noiseless*: the deviation "
        "that a sampler can learn."
    )
    yield "\n".join(likeness_table(surrogate, several, rungs))
    yield (
        f"The best noiseless final score of the recorded architectures is {surrogate.best:.4f}, the reference of "
        f"regret. Of the random ones, {(finals > surrogate.best).mean():.1%} are above it. Hill climbs from the best "
        f"{CLIMBS} random ones over {CLIMBS * STEPS * NEIGHBOURS} neighbours end at {climb(surrogate, several):.4f} at "
        "best; nobody has trained what they found."
    )


def verdict(surrogate: Surrogate) -> str:
    """Say what the last row of the table means, and what noise the answers have."""
    explained = max(float(surrogate.quality.r2[-1]), 0.0)
    said = (
        f"The surrogate explains {explained:.0%} of the variance of final scores, and puts "
        f"{(1 + surrogate.quality.tau[-1]) / 2:.0%} of the pairs of architectures into the recorded order (50% by "
        "chance). "
    )
    if not surrogate.trainings:
        return said + (
            "No architecture was trained several times, so the noise of training is not known. The noise of the "
            "answers is drawn from the errors of the cross-validation, which contain the errors of the surrogate: it "
            "is an upper bound."
        )
    again = quality_of_retraining(surrogate.trainings.values(), surrogate.recorded_scores)
    return said + (
        f"The noise of the answers is drawn from {len(surrogate.trainings)} architectures that were trained several "
        f"times. Without noise, {again.r2[-1]:.0%} of the variance would be left. The answers lack the difference "
        "between the two, so samplers learn more easily there than in a search."
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="run directory, or trials.parquet")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    recorded = RecordedCurves.read(arguments.record)
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    command = " ".join(["python benchmarks/surrogate.py", *sys.argv[1:]])
    arguments.output.write_text(
        f"# A surrogate of recorded curves\n\n{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} "
        f"CPUs, Python {platform.python_version()}, {packages}. Written by\n\n```\n{command}\n```\n\n"
        + "\n\n".join(text(recorded))
        + "\n"
    )


if __name__ == "__main__":
    main()
