"""Local search as an Optuna sampler, for any study of one objective over categorical parameters.

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

from orchestrator.samplers.final_merits import FinalMerits
from orchestrator.samplers.history import (
    Point,
    begins_with,
    check_one_objective,
    draw_independently,
    ended_trials,
    has_score,
    new_seed,
    to_point,
)


@final
class LocalSearchSampler(BaseSampler):
    """Hill climbing with restarts (White et al. 2021); option: initial, random trials of a climb.

    Source: Local Search is State of the Art for NAS Benchmarks. A climb begins with `initial` random trials. Then the
    sampler proposes the neighbours of the climb's best trial, which differ from it in one decision, in random order. A
    better neighbour replaces the best trial at once (the paper's "query until lower"). When all neighbours have been
    tried and none is better, a new climb begins. A pruned or paused trial counts with the score that is expected at the
    end: see `FinalMerits`.

    The points of trials in flight count as tried. The seed and the trial's number determine all random draws.

    Args:
        initial: number of random trials at the beginning of a climb; 1 in the paper's simplest form.
        seed: seed of all draws; None takes one from the operating system.

    Raises:
        ValueError: initial is below 1.
    """

    several_objectives = False

    def __init__(self, *, initial: int = 10, seed: int | None = None) -> None:
        if initial < 1:
            raise ValueError(f"initial is {initial}; it must be at least 1")
        self._initial = initial
        self._seed = new_seed() if seed is None else seed
        self._state: _ClimbState | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters of the climb's best trial if it has an untried neighbour; otherwise none."""
        check_one_objective(study, self)
        state = self._current_state(study)
        if state.best is None or state.length < self._initial:
            return {}
        untried = _untried_neighbours(state.best, state.tried, _points_in_flight(study, trial))
        return {} if next(untried, None) is None else dict(state.best.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose an untried neighbour of the climb's best trial."""
        state = self._current_state(study)
        if not search_space or state.best is None:
            return {}
        untried = list(_untried_neighbours(state.best, state.tried, _points_in_flight(study, trial)))
        generator = np.random.default_rng([self._seed, trial.number])
        return untried[int(generator.integers(len(untried)))]

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw uniformly, at the beginning of a climb."""
        return draw_independently(study, trial, name=param_name, distribution=param_distribution, seed=self._seed)

    def _current_state(self, study: Study) -> _ClimbState:
        """Return the climb's state after all trials that have ended."""
        ended = ended_trials(study)
        if self._state is None or not self._state.is_prefix_of(study, ended):
            self._state = _ClimbState(study, self._initial)
        self._state.extend(ended)
        return self._state


class _ClimbState:
    """The current climb after some number of ended trials; a cache of what follows from the study."""

    def __init__(self, study: Study, initial: int) -> None:
        self.study = study
        self.initial = initial
        self.counted: list[FrozenTrial] = []
        self.tried: set[Point] = set()
        self.best: FrozenTrial | None = None
        self.length = 0
        self._merits = FinalMerits(study)

    def is_prefix_of(self, study: Study, ended: list[FrozenTrial]) -> bool:
        """Return whether the study's ended trials begin with those that this state already counts."""
        return study is self.study and begins_with(ended, self.counted)

    def extend(self, ended: list[FrozenTrial]) -> None:
        """Count the ended trials that are not counted yet; one without a score only marks its point as tried."""
        for trial in ended[len(self.counted) :]:
            self.counted.append(trial)
            self.tried.add(to_point(trial.params))
            if has_score(trial):
                self.length += 1
                self._merits.add(trial)
                if self.best is None or self._merits.of(trial) > self._merits.of(self.best):
                    self.best = trial
            if self.best is None or self.length < self.initial:
                continue
            if next(_untried_neighbours(self.best, self.tried), None) is None:
                self.best, self.length = None, 0


def _untried_neighbours(trial: FrozenTrial, *tried: set[Point]) -> Iterator[dict[str, Any]]:
    """Yield the trial's parameters with one categorical parameter changed, for every such point that is untried."""
    for name, distribution in trial.distributions.items():
        if isinstance(distribution, CategoricalDistribution):
            for choice in distribution.choices:
                params = {**trial.params, name: choice}
                candidate = to_point(params)
                if choice != trial.params[name] and not any(candidate in points for points in tried):
                    yield params


def _points_in_flight(study: Study, trial: FrozenTrial) -> set[Point]:
    """Return the points of the other running trials; `_ClimbState.tried` holds those of ended trials."""
    others = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return {to_point(other.params) for other in others if other.number != trial.number}
