"""Compares the true scores of confirmed and unconfirmed winners, on real searches of Fashion-MNIST; writes `winner.md`.

    python benchmarks/winner.py DATA --cache runs/winner

Each search is `examples/fashion_mnist.toml` made smaller, with a seed of its own. It names three candidates: the
unconfirmed one, with the best score of a single training; the confirmed one, by the default share of training time;
and the confirmed one by a larger share. The true score of each is the mean of fresh trainings, with seeds and splits
that no search has used. `winner.md` also holds the coverage of the stated intervals in made-up searches whose truth is
known. Finished searches and trainings are kept in the cache, so an interrupted benchmark continues.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev

import torch
from made_up_searches import KINDS, Coverage, measure_coverage

from orchestrator.config import SearchConfig, load_config
from orchestrator.record import ConfirmationPlanned, RecordedRun, RunState, find_network
from orchestrator.search import resume_search, run_search
from orchestrator.significance import mean_of
from trainables.assignment import Resample
from trainables.datasets import load_data
from trainables.folds import resample_splits
from trainables.loader import DeviceData
from trainables.training import Training

EXAMPLE = Path(__file__).parents[1] / "examples" / "fashion_mnist.toml"
SMALLER = (
    *("data.limit=1000", "data.image_size=8", "network.filters=4", "training.epochs=4"),
    *("scheduler.reduction_factor=2", "budget.trials=24"),
)
LARGER_SHARE = 2.0
FIRST_FRESH_SEED = 1000
NAMINGS = ("unconfirmed", "confirmed", f"confirmed, share {LARGER_SHARE:g}")


@dataclass(frozen=True)
class Named:
    """A candidate that a search named."""

    trial_id: str
    stated: float
    """The score that was stated for it: of a single training, or the mean of the new ones."""
    interval: tuple[float, float] | None
    trainings: int
    """New trainings of all candidates together."""


@dataclass(frozen=True)
class Searched:
    """A search, what it named, and the fresh scores of the named candidates by trial."""

    seed: int
    named: Mapping[str, Named]
    fresh: Mapping[str, list[float]]

    def true_score(self, naming: str) -> float:
        return fmean(self.fresh[self.named[naming].trial_id])


def configuration(data: Path, seed: int) -> SearchConfig:
    return load_config(EXAMPLE, [*SMALLER, f"data.root={data}", f"run.seed={seed}"])


def search(data: Path, seed: int, folder: Path) -> dict[str, Named]:
    """Search once, confirm twice; return what was named. What is on record is only read."""
    if not folder.exists():
        run_search(configuration(data, seed), run_dir=folder)
    if len(plans_of(folder)) < 2:
        resume_search(folder)
        resume_search(folder, [f"confirmation.share={LARGER_SHARE}"])
    events = RecordedRun.of_search(folder).events()
    states = [RunState.replay(events[: plans_of(folder)[1]]), RunState.replay(events)]
    best = states[0].best
    assert best is not None, "a candidate has completed"
    score = best.val_accuracy
    assert score is not None, "it has completed"
    named = {NAMINGS[0]: Named(best.trial_id, score, None, 0)}
    for naming, state in zip(NAMINGS[1:], states, strict=True):
        assert state.confirmed is not None, "its share is large enough"
        winner = state.confirmed.winner
        found = winner.scores["val_accuracy"]
        named[naming] = Named(winner.trial_id, found.mean, found.interval, len(state.repeats))
    return named


def plans_of(folder: Path) -> list[int]:
    """The places of the confirmations' plans in the log."""
    events = RecordedRun.of_search(folder).events()
    return [place for place, event in enumerate(events) if isinstance(event, ConfirmationPlanned)]


def train(data: Path, seed: int, candidate: str, fresh_seed: int) -> float:
    """Train a candidate of the search with this seed; return its validation accuracy on a fresh split."""
    torch.set_num_threads(1)
    config = configuration(data, seed)
    splits = resample_splits(load_data(config.data, seed), Resample(seed=fresh_seed, split="fresh"))
    training = Training(
        find_network(candidate), config.training, DeviceData(splits, torch.device("cpu")), seed=fresh_seed
    )
    return [training.train_epoch().val_accuracy for _ in range(config.training.epochs)][-1]


def train_missing(data: Path, seed: int, names: Sequence[str], folder: Path, trainings: int) -> dict[str, list[float]]:
    """Return the fresh scores of the named trials; those in the cache are not trained again."""
    path = folder.with_suffix(".fresh.json")
    known: dict[str, list[float]] = json.loads(path.read_text()) if path.exists() else {}
    missing = [name for name in dict.fromkeys(names) if len(known.get(name, [])) < trainings]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        for name in missing:
            seeds = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + trainings)
            jobs = [pool.submit(train, data, seed, f"{folder}#{name}", fresh) for fresh in seeds]
            known[name] = [job.result() for job in jobs]
            path.write_text(json.dumps(known))
    return {name: known[name][:trainings] for name in dict.fromkeys(names)}


def report(searches: Sequence[Searched], coverages: Sequence[Coverage], command: str) -> Iterator[str]:
    """Yield the Markdown file, line by line."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "optuna", "numpy"))
    yield "# Is a confirmed winner better than an unconfirmed one?\n"
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    yield f"{datetime.now(UTC):%Y-%m-%d}, {machine}, {packages}. Written by\n"
    yield f"```\n{command}\n```\n"
    yield "## Real searches on Fashion-MNIST\n"
    trainings = len(next(iter(searches[0].fresh.values())))
    yield (
        f"{len(searches)} searches with `examples/fashion_mnist.toml` made smaller ({', '.join(SMALLER)}), each with a "
        "seed of its own. A search names the unconfirmed winner (the best score of a single training), the confirmed "
        f"one (default settings) and one that was confirmed with `confirmation.share = {LARGER_SHARE:g}`. The true "
        f"score of a candidate is the mean of {trainings} fresh trainings, with seeds and splits that no search has "
        "used.\n"
    )
    yield "| search | " + " | ".join(f"{naming}: trial, stated, true" for naming in NAMINGS) + " |"
    yield "|---|" + "---|" * len(NAMINGS)
    for one in searches:
        cells = [
            f"{one.named[naming].trial_id}, {one.named[naming].stated:.4f}, {one.true_score(naming):.4f}"
            for naming in NAMINGS
        ]
        yield f"| {one.seed} | {' | '.join(cells)} |"
    yield ""
    yield "| winner | new trainings a search | stated | true | stated - true | true - that of the unconfirmed |"
    yield "|---|---|---|---|---|---|"
    for naming in NAMINGS:
        stated = [one.named[naming].stated for one in searches]
        true = [one.true_score(naming) for one in searches]
        gain = [one.true_score(naming) - one.true_score(NAMINGS[0]) for one in searches]
        luck = [a - b for a, b in zip(stated, true, strict=True)]
        new = fmean(one.named[naming].trainings for one in searches)
        cells = [naming, f"{new:.1f}", with_interval(stated), with_interval(true), with_interval(luck)]
        yield f"| {' | '.join([*cells, with_interval(gain) if naming != NAMINGS[0] else '-'])} |"
    yield ""
    for naming in NAMINGS[1:]:
        other = sum(one.named[naming].trial_id != one.named[NAMINGS[0]].trial_id for one in searches)
        held = sum(
            interval[0] <= one.true_score(naming) <= interval[1]
            for one in searches
            if (interval := one.named[naming].interval) is not None
        )
        yield (
            f"{naming}: another candidate than the unconfirmed one in {other} of {len(searches)} searches; its stated "
            f"interval held the true score in {held}.\n"
        )
    scores = [stdev(scores) for one in searches for scores in one.fresh.values()]
    yield f"The standard deviation of a single fresh training's score is {fmean(scores):.4f} on average.\n"
    yield "## Made-up searches\n"
    yield from coverage_report(coverages)


def coverage_report(coverages: Sequence[Coverage]) -> Iterator[str]:
    searches = coverages[0].searches
    yield (
        f"{searches} made-up searches of each kind, whose true scores are known. The noise of one training's score is "
        "1; a share of its variance belongs to the seed and is the same for all candidates. Each search chooses its "
        "candidates by one noisy score each and runs the race as cellscout does. Covered: the winner's stated 95 % "
        "interval holds its true score. Found: the best candidate of the confirmation is the winner or among those "
        "that cannot be distinguished from it. Regret: the best true score of the search less the winner's.\n"
    )
    heads = ["true scores", "candidates x trainings", "covered", "found", "trainings used"]
    heads += ["regret, unconfirmed", "regret, confirmed"]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for one in coverages:
        yield (
            f"| {one.kind} | {one.candidates} x {one.trainings} | {one.covered:.1%} | {one.found:.1%} | "
            f"{one.used:.1f} | {one.unconfirmed_regret:.2f} | {one.regret:.2f} |"
        )
    yield ""
    yield (
        f"All together: {fmean(one.covered for one in coverages):.1%} covered, "
        f"{fmean(one.found for one in coverages):.1%} found."
    )


def with_interval(values: Sequence[float]) -> str:
    found = mean_of(values)
    return f"{found.mean:.4f} ± {found.margin:.4f}"


def main() -> None:
    """Run what is missing, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with Fashion-MNIST in torchvision's layout")
    parser.add_argument("--cache", type=Path, required=True, help="folder of finished searches and trainings")
    parser.add_argument("--searches", type=int, default=8)
    parser.add_argument("--trainings", type=int, default=8, help="fresh trainings of each named candidate")
    parser.add_argument("--made-up", type=int, default=400, help="made-up searches of each kind")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "winner.md")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    searches = []
    for seed in range(arguments.searches):
        folder = arguments.cache / f"search-{seed}"
        named = search(arguments.data, seed, folder)
        names = [one.trial_id for one in named.values()]
        fresh = train_missing(arguments.data, seed, names, folder, arguments.trainings)
        searches.append(Searched(seed, named, fresh))
        print(
            seed, {naming: (one.trial_id, searches[-1].true_score(naming)) for naming, one in named.items()}, flush=True
        )
    coverages = [measure_coverage(kind, arguments.made_up) for kind in KINDS]
    command = f"python benchmarks/winner.py DATA --cache {arguments.cache.name} --searches {arguments.searches}"
    command += f" --trainings {arguments.trainings} --made-up {arguments.made_up}"
    arguments.out.write_text("\n".join(report(searches, coverages, command)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
