"""A wrapper that makes the draws of an Optuna sampler depend only on the seed, the trial's number and the study.

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
    """Creates a new sampler for every trial, seeded by the run's seed and the trial's number.

    Optuna's samplers carry a random state from trial to trial. A study that is rebuilt from its record would lose that
    state; with this wrapper it continues like the original. Only for samplers that keep all other state in the study.

    Args:
        make: builds the sampler from a seed.
        seed: seed of all draws; None takes one from the operating system.
    """

    def __init__(self, make: Callable[[int], BaseSampler], *, seed: int | None = None) -> None:
        self._make = make
        self._seed = new_seed() if seed is None else seed
        self._number = -1
        self._sampler = make(self._seed)  # raises now, not at the first trial, if the options are wrong

    @property
    def kind(self) -> type[BaseSampler]:
        """The class of the wrapped samplers."""
        return type(self._sampler)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Call the trial's sampler."""
        return self._sampler_for(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Call the trial's sampler."""
        return self._sampler_for(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Call the trial's sampler."""
        return self._sampler_for(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Call the trial's sampler."""
        self._sampler_for(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Call the current sampler; the trial's own may have been replaced by then."""
        self._sampler.after_trial(study, trial, state, values)

    def _sampler_for(self, trial: FrozenTrial) -> BaseSampler:
        """Return the trial's sampler; create it if the last call was for another trial."""
        if trial.number != self._number:
            self._number = trial.number
            sequence = np.random.SeedSequence([self._seed, trial.number])
            before, self._sampler = self._sampler, self._make(int(sequence.generate_state(1)[0]))
            if isinstance(before, CACHING) and (cache := SPACE_CACHE.read(before)) is not None:
                setattr(self._sampler, SPACE_CACHE.name, cache)
        return self._sampler
