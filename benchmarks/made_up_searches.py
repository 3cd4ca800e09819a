"""A confirmation's race on numbers, and how often what it states is right in made-up searches of known truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from orchestrator.confirmation import most_likely_best, true_scores
from orchestrator.significance import CONFIDENCE

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Kind(NamedTuple):
    """A kind of search; the noise of one training's score is 1."""

    name: str
    truth: Callable[[np.random.Generator], Floats]
    """Draws the true scores of all candidates of a search."""
    candidates: int
    trainings: int
    seed_share: float = 0.3
    """The seed's share of the variance of a score."""
    expected: bool = True
    """Whether the number of validation images says about how large the noise is."""


def _normal(spread: float, count: int = 26) -> Callable[[np.random.Generator], Floats]:
    return lambda generator: spread * generator.standard_normal(count)


KINDS = (
    Kind("all equal", _normal(0.0), 5, 5),
    Kind("normal, deviation 0.3", _normal(0.3), 5, 5),
    Kind("normal, deviation 0.3, noise unknown", _normal(0.3), 5, 5, expected=False),
    Kind("normal, deviation 1", _normal(1.0), 5, 5),
    Kind("normal, deviation 1", _normal(1.0), 2, 2),
    Kind("normal, deviation 1, most noise is the seed's", _normal(1.0), 3, 3, seed_share=0.7),
    Kind("normal, deviation 3", _normal(3.0), 5, 5),
    Kind("200 with a long tail below", lambda generator: -generator.exponential(2.0, 200), 5, 5),
)


@dataclass(frozen=True)
class Coverage:
    """How often the statements of a kind's confirmations were right (0..1), and means over the searches."""

    kind: str
    candidates: int
    trainings: int
    searches: int
    covered: float
    found: float
    used: float
    unconfirmed_regret: float
    regret: float


class Ended(NamedTuple):
    """A race that has ended; candidates are places in its table."""

    winner: int
    alive: list[int]
    """Those that can be the best."""
    trainings: int
    draws: Floats
    """Of the winner's true score."""


def race(table: Floats, expected_noise: float | None) -> Ended:
    """Run a confirmation's race as `orchestrator.confirmation.Race` does, without a limit of the training time.

    Args:
        table: the score of each candidate (row) in each round (column), at least two; NaN where there is none.
        expected_noise: see `orchestrator.confirmation.true_scores`.
    """
    alive = list(range(len(table)))
    scores: dict[int, dict[int, float]] = {one: {} for one in alive}
    for number, of_round in enumerate(table.T.tolist()):
        for one in alive:
            if not math.isnan(of_round[one]):
                scores[one][number] = of_round[one]
        if number == 0:
            continue
        known = [one for one, found in scores.items() if found]
        draws = true_scores({str(one): scores[one] for one in known}, expected_noise)
        chances = np.bincount(draws.argmax(1), minlength=len(known)) / len(draws)
        alive = [known[place] for place in np.flatnonzero(most_likely_best(chances))]
        if len(alive) == 1:
            break
    place = int(draws.mean(0).argmax())
    return Ended(known[place], alive, sum(map(len, scores.values())), draws[:, place])


def measure_coverage(kind: Kind, searches: int) -> Coverage:
    """Run made-up searches of one kind."""
    generator = np.random.default_rng(0)
    outcomes = np.array([_search(kind, generator) for _ in range(searches)], float).mean(0)
    return Coverage(kind.name, kind.candidates, kind.trainings, searches, *outcomes.tolist())


def _search(kind: Kind, generator: np.random.Generator) -> tuple[bool, bool, int, float, float]:
    """Search and confirm once: covered, found, trainings, regret of the unconfirmed and of the confirmed winner."""
    truth = kind.truth(generator)
    scores = truth + generator.standard_normal(len(truth))
    chosen = np.argsort(-scores)[: kind.candidates]
    true = truth[chosen]
    shape = (kind.candidates, kind.trainings)
    of_seed = np.sqrt(kind.seed_share) * generator.standard_normal(kind.trainings)
    noise = np.sqrt(1 - kind.seed_share) * generator.standard_normal(shape)
    ended = race(true[:, None] + of_seed + noise, 1 / 1.15 if kind.expected else None)
    low, high = np.quantile(ended.draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    winner = true[ended.winner]
    found = true[[*ended.alive, ended.winner]].max() == true.max()
    return low <= winner <= high, found, ended.trainings, truth.max() - true[0], truth.max() - winner
