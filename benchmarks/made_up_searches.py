"""Made-up searches whose true scores are known, and how often what their confirmation states is right."""

from __future__ import annotations

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
    alive = np.arange(kind.candidates)
    known: dict[str, dict[int, float]] = {str(one): {} for one in alive}
    winner = 0
    draws: Floats = np.empty((0, 0))
    for number in range(kind.trainings):
        of_seed = np.sqrt(kind.seed_share) * generator.standard_normal()
        for one in alive:
            noise = np.sqrt(1 - kind.seed_share) * generator.standard_normal()
            known[str(one)][number] = float(true[one] + of_seed + noise)
        if number:
            draws = true_scores(known, 1 / 1.15 if kind.expected else None)
            winner = int(draws.mean(0).argmax())
            alive = np.flatnonzero(most_likely_best(np.bincount(draws.argmax(1), minlength=len(true)) / len(draws)))
            if len(alive) == 1:
                break
    low, high = np.quantile(draws[:, winner], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    found = true[[*alive, winner]].max() == true.max()
    used = sum(map(len, known.values()))
    return low <= true[winner] <= high, found, used, truth.max() - true[0], truth.max() - true[winner]
