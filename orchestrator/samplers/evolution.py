"""Regularised evolution as an Optuna sampler, for any study of one objective, with or without Ray.

Knows Optuna. Does not know cells: it reads a parameter's kind from the last part of its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from orchestrator.samplers.final_merits import FinalMerits
from orchestrator.samplers.history import (
    TriedPoints,
    check_one_objective,
    draw_independently,
    finished_trials,
    new_seed,
    to_point,
)

MAX_TOURNAMENTS = 100
"""Tournaments per proposal until a child is new. In a converged population, most children were tried before."""


@final
class EvolutionSampler(BaseSampler):
    """Regularised (aging) evolution (Real et al. 2019); options: population and tournament.

    Algorithm 1 of the paper. The first `population` trials are random. After that, each proposal draws `tournament`
    members of the population with replacement, takes the best and mutates it. The population is the `population`
    trials that finished last: a trial leaves it by age, however good it is. A pruned or paused trial counts with the
    score that is expected of it at the end: see `FinalMerits`. A paused one that continues is not in the population
    until it pauses again or ends.

    A mutation changes one decision to another value, like the paper's hidden-state and operation mutations. It first
    draws a kind of decision (`state` or `operation`: the last part of the parameter's name), then a decision of that
    kind. Unlike in the paper, a child that was tried before is not proposed again: another tournament is held, up to
    `MAX_TOURNAMENTS`.

    The seed and the trial's number determine all random draws, so a rebuilt study continues like the original.

    Args:
        population: number of trials in the population; P in the paper, 100 there.
        tournament: number of members compared for a parent; S in the paper, 25 there.
        seed: seed of all draws; None takes one from the operating system.

    Raises:
        ValueError: population or tournament is below 1.
    """

    several_objectives = False

    def __init__(self, *, population: int = 100, tournament: int = 25, seed: int | None = None) -> None:
        for name, value in (("population", population), ("tournament", tournament)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        self._population = population
        self._tournament = tournament
        self._seed = new_seed() if seed is None else seed
        self._tried = TriedPoints()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the distributions of the last finished trial once the population is full; before that, none."""
        check_one_objective(study, self)
        finished = finished_trials(study)
        return dict(finished[-1].distributions) if len(finished) >= self._population else {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose a mutated copy of a tournament's winner."""
        if not search_space:
            return {}
        generator = np.random.default_rng([self._seed, trial.number])
        finished, tried = finished_trials(study), self._tried.before(study, trial)
        members, merits = finished[-self._population :], FinalMerits(study, finished)
        for _ in range(MAX_TOURNAMENTS):
            contestants = [members[int(index)] for index in generator.integers(len(members), size=self._tournament)]
            parent = max(contestants, key=merits.of)
            child = self._mutated(
                study=study, trial=trial, parent=parent, search_space=search_space, generator=generator
            )
            if to_point(child) not in tried:
                break
        return child

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw uniformly: for the first `population` trials, and for a decision that the parent did not make."""
        return draw_independently(study, trial, name=param_name, distribution=param_distribution, seed=self._seed)

    def _mutated(
        self,
        *,
        study: Study,
        trial: FrozenTrial,
        parent: FrozenTrial,
        search_space: dict[str, BaseDistribution],
        generator: np.random.Generator,
    ) -> dict[str, Any]:
        """Copy the parent and mutate one decision."""
        child = {name: value for name, value in parent.params.items() if name in search_space}
        name = _draw_decision(search_space, generator)
        if name is not None:
            child[name] = self._draw_other_value(
                study=study,
                trial=trial,
                name=name,
                distribution=search_space[name],
                old=child.get(name),
                generator=generator,
            )
        return child

    def _draw_other_value(
        self,
        *,
        study: Study,
        trial: FrozenTrial,
        name: str,
        distribution: BaseDistribution,
        old: Any,
        generator: np.random.Generator,
    ) -> Any:
        """Draw a choice other than `old`, or a new value of a parameter that is not categorical."""
        if isinstance(distribution, CategoricalDistribution):
            others = [choice for choice in distribution.choices if choice != old]
            return others[int(generator.integers(len(others)))]
        return self.sample_independent(study, trial, name, distribution)


def _draw_decision(search_space: Mapping[str, BaseDistribution], generator: np.random.Generator) -> str | None:
    """Draw the name of the decision to change. Returns None if every parameter has a single value."""
    kinds: dict[str, list[str]] = {}
    for name in sorted(name for name, distribution in search_space.items() if not distribution.single()):
        kinds.setdefault(name.rpartition(".")[2], []).append(name)
    if not kinds:
        return None
    names = list(kinds.values())[int(generator.integers(len(kinds)))]
    return names[int(generator.integers(len(names)))]
