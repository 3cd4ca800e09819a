"""Local search as an Optuna sampler: it works in any study of one objective over categorical parameters.

Knows Optuna. Does not know cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from orchestrator.samplers.history import Point, draw_independently, ended_trials, has_score, merit, new_seed, point


@final
class LocalSearchSampler(BaseSampler):
    """Hill climbing with restarts (White et al. 2021); option: initial, random trials of a climb.

    Local Search is State of the Art for NAS Benchmarks. A climb begins with `initial` random trials. Then the
    neighbours of its best trial, which differ in one decision, are tried in random order; a better one takes its place
    at once (the paper's "query until lower"). When all neighbours have been tried and none is better, a new climb
    begins. A pruned trial counts with its last score.

    With trials in flight, their points count as tried, and the neighbours of the best that is known are proposed. All
    random draws come from the seed and the trial's number.

    Args:
        initial: random trials at the beginning of a climb; 1 in the paper's simplest form.
        seed: of all draws; None takes one from the operating system.

    Raises:
        ValueError: initial is below 1.
    """

    several_objectives = False

    def __init__(self, *, initial: int = 10, seed: int | None = None) -> None:
        if initial < 1:
            raise ValueError(f"initial is {initial}; at least 1 is needed")
        self._initial = initial
        self._seed = new_seed() if seed is None else seed
        self._climbs: _Climbs | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The decisions of the climb's best trial, if it has a neighbour that was not tried."""
        climbs = self._up_to_now(study)
        if climbs.best is None or climbs.length < self._initial:
            return {}
        fresh = _fresh_neighbours(climbs.best, climbs.tried, _tried_by_others(study, trial))
        return {} if next(fresh, None) is None else dict(climbs.best.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A neighbour of the climb's best trial that was not tried."""
        climbs = self._up_to_now(study)
        if not search_space or climbs.best is None:
            return {}
        fresh = list(_fresh_neighbours(climbs.best, climbs.tried, _tried_by_others(study, trial)))
        generator = np.random.default_rng([self._seed, trial.number])
        return fresh[int(generator.integers(len(fresh)))]

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A uniform draw, at the beginning of a climb."""
        return draw_independently(self._seed, study, trial, param_name, param_distribution)

    def _up_to_now(self, study: Study) -> _Climbs:
        ended = ended_trials(study)
        if self._climbs is None or not self._climbs.precede(study, ended):
            self._climbs = _Climbs(study, self._initial)
        self._climbs.follow(ended)
        return self._climbs


class _Climbs:
    """The climbs of a study up to some trial that ended; a memory of what can be read off the study at any time."""

    def __init__(self, study: Study, initial: int) -> None:
        self.study = study
        self.initial = initial
        self.numbers: list[int] = []
        self.tried: set[Point] = set()
        self.best: FrozenTrial | None = None
        self.length = 0

    def precede(self, study: Study, ended: list[FrozenTrial]) -> bool:
        """Whether the ended trials of the study begin with those that were followed."""
        return study is self.study and [trial.number for trial in ended[: len(self.numbers)]] == self.numbers

    def follow(self, ended: list[FrozenTrial]) -> None:
        """Go on from where the climbs stand, trial by trial; one without a score is tried, and no more."""
        for trial in ended[len(self.numbers) :]:
            self.numbers.append(trial.number)
            self.tried.add(point(trial.params))
            if has_score(trial):
                self.length += 1
                if self.best is None or merit(self.study, trial) > merit(self.study, self.best):
                    self.best = trial
            if self.best is None or self.length < self.initial:
                continue
            if next(_fresh_neighbours(self.best, self.tried), None) is None:
                self.best, self.length = None, 0


def _fresh_neighbours(trial: FrozenTrial, *tried: set[Point]) -> Iterator[dict[str, Any]]:
    """The trial's decisions with one of them changed, in every way that was not tried; only categorical ones change."""
    for name, distribution in trial.distributions.items():
        if isinstance(distribution, CategoricalDistribution):
            for choice in distribution.choices:
                params = {**trial.params, name: choice}
                candidate = point(params)
                if choice != trial.params[name] and not any(candidate in points for points in tried):
                    yield params


def _tried_by_others(study: Study, trial: FrozenTrial) -> set[Point]:
    """What other trials try; those that ended are in the climbs."""
    others = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return {point(other.params) for other in others if other.number != trial.number}
