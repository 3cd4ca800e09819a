"""Optuna's own samplers, made a function of the seed, the trial's number and the study.

Knows Optuna. Does not know which sampler it wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from orchestrator.samplers.history import new_seed
from trainables.library_internals import Internal

SPACE_CACHE = Internal(
    "optuna", "_search_space", read_in="5.0.0", without="a suggestion takes longer the more trials there are"
)
"""Attribute in which Optuna's samplers cache the search space that all trials share.

It follows from the study but is slow to recompute, so each new sampler receives it from the one before.
"""

CACHING = (TPESampler, NSGAIISampler, NSGAIIISampler)
"""The wrapped samplers that have this cache."""


@final
class SeededSampler(BaseSampler):
    """A fresh sampler for every trial, seeded by the run's seed and the trial's number.

    Optuna's samplers carry a random state from trial to trial, which a study that is rebuilt from its record would have
    lost. So made, the rebuilt study goes on as the old one would have. For samplers that keep all else in the study.

    Args:
        make: makes the sampler from a seed.
        seed: of all draws; None takes one from the operating system.
    """

    def __init__(self, make: Callable[[int], BaseSampler], *, seed: int | None = None) -> None:
        self._make = make
        self._seed = new_seed() if seed is None else seed
        self._number = -1
        self._sampler = make(self._seed)  # so that wrong options are refused now

    @property
    def kind(self) -> type[BaseSampler]:
        """The class of the samplers that it makes."""
        return type(self._sampler)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As the trial's own sampler does."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the trial's own sampler does."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the trial's own sampler does."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As the trial's own sampler does."""
        self._of(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As the sampler does; it is a new one, for the trial's own is long gone."""
        self._sampler.after_trial(study, trial, state, values)

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number = trial.number
            sequence = np.random.SeedSequence([self._seed, trial.number])
            before, self._sampler = self._sampler, self._make(int(sequence.generate_state(1)[0]))
            if isinstance(before, CACHING) and (cache := SPACE_CACHE.read(before)) is not None:
                setattr(self._sampler, SPACE_CACHE.name, cache)
        return self._sampler
