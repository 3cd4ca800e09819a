"""Regularised evolution as an Optuna sampler: it works in any study of one objective, with or without Ray.

Knows Optuna. Does not know cells; what it needs of a parameter's meaning it takes from the last part of its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from orchestrator.samplers.history import TriedPoints, draw_independently, finished_trials, merit, new_seed, point

ATTEMPTS = 100
"""Tournaments that are held for a child that was not tried before. In a population that has converged most were."""


@final
class EvolutionSampler(BaseSampler):
    """Regularised (aging) evolution (Real et al. 2019); options: population and tournament.

    Algorithm 1 of the paper. The first `population` trials are random. After that, each proposal draws `tournament`
    members of the population with replacement, takes the best and mutates it. The population are the trials that
    finished last, so that every trial dies of age, however good it is. A pruned trial counts with its last score.

    A mutation changes one decision to another value, as the paper's hidden-state and operation mutations do: first a
    kind of decision is drawn, by the last part of the parameters' names (`state`, `operation`), then one of that kind.
    Differs from the paper in that a child that was tried before is not proposed again: another tournament is held.

    All random draws come from the seed and the trial's number, so a study that is rebuilt goes on as the old one would.

    Args:
        population: P in the paper, trials that are alive at a time; 100 there.
        tournament: S in the paper, members that are compared for a parent; 25 there.
        seed: of all draws; None takes one from the operating system.

    Raises:
        ValueError: population or tournament is below 1.
    """

    several_objectives = False

    def __init__(self, *, population: int = 100, tournament: int = 25, seed: int | None = None) -> None:
        for name, value in (("population", population), ("tournament", tournament)):
            if value < 1:
                raise ValueError(f"{name} is {value}; at least 1 is needed")
        self._population = population
        self._tournament = tournament
        self._seed = new_seed() if seed is None else seed
        self._tried = TriedPoints()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The decisions of the last trial to finish, once there is a population."""
        alive = self._alive(study)
        return dict(alive[-1].distributions) if len(alive) == self._population else {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A mutated copy of the tournament's winner."""
        if not search_space:
            return {}
        generator = np.random.default_rng([self._seed, trial.number])
        alive, tried = self._alive(study), self._tried.before(study, trial)
        for _ in range(ATTEMPTS):
            child = self._child(study, trial, alive, search_space, generator)
            if point(child) not in tried:
                break
        return child

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A uniform draw: of the first trials, and of a decision that the parent did not make."""
        return draw_independently(self._seed, study, trial, param_name, param_distribution)

    def _child(
        self,
        study: Study,
        trial: FrozenTrial,
        alive: Sequence[FrozenTrial],
        search_space: dict[str, BaseDistribution],
        generator: np.random.Generator,
    ) -> dict[str, Any]:
        contestants = [alive[int(place)] for place in generator.integers(len(alive), size=self._tournament)]
        parent = max(contestants, key=lambda contestant: merit(study, contestant))
        child = {name: value for name, value in parent.params.items() if name in search_space}
        name = _decision(search_space, generator)
        if name is not None:
            child[name] = self._another(study, trial, name, search_space[name], child.get(name), generator)
        return child

    def _alive(self, study: Study) -> list[FrozenTrial]:
        """The trials that finished last, in the order in which they did."""
        return finished_trials(study)[-self._population :]

    def _another(
        self,
        study: Study,
        trial: FrozenTrial,
        name: str,
        distribution: BaseDistribution,
        old: Any,
        generator: np.random.Generator,
    ) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            others = [choice for choice in distribution.choices if choice != old]
            return others[int(generator.integers(len(others)))]
        return self.sample_independent(study, trial, name, distribution)


def _decision(search_space: Mapping[str, BaseDistribution], generator: np.random.Generator) -> str | None:
    """The decision to change; None where there is nothing to decide."""
    kinds: dict[str, list[str]] = {}
    for name in sorted(name for name, distribution in search_space.items() if not distribution.single()):
        kinds.setdefault(name.rpartition(".")[2], []).append(name)
    if not kinds:
        return None
    names = list(kinds.values())[int(generator.integers(len(kinds)))]
    return names[int(generator.integers(len(names)))]
