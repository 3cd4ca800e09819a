"""A custom sampler for `examples/own_sampler.toml`: mutates the best candidate so far, or sometimes draws a new one.

A sampler is an `optuna.samplers.BaseSampler`: it reads the study and returns a value for each parameter.
"""

import numpy as np
from optuna.samplers import BaseSampler
from optuna.trial import TrialState


class GreedySampler(BaseSampler):
    """The search file sets its options; `seed` and `space` are passed if the class takes them."""

    several_objectives = False

    def __init__(self, seed, exploration=0.2):
        self.seed, self.exploration = seed, exploration

    def _generator(self, trial, purpose):
        # Depends only on seed and trial number, so a resumed search makes the same proposals.
        return np.random.default_rng([self.seed, trial.number, purpose])

    def _best(self, study):
        # Not `study.best_trial`: among equal trials it is the first to end, but after a resume the first proposed.
        complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        return next((trial for trial in complete if trial.value == study.best_value), None)

    def infer_relative_search_space(self, study, trial):
        best = self._best(study)
        explores = self._generator(trial, 0).random() < self.exploration
        return {} if explores or best is None else best.distributions

    def sample_relative(self, study, trial, search_space):
        if not search_space:
            return {}  # each parameter is then drawn by sample_independent
        generator = self._generator(trial, 1)
        name = generator.choice(sorted(search_space))
        return {**self._best(study).params, name: generator.choice(search_space[name].choices).item()}

    def sample_independent(self, study, trial, param_name, param_distribution):
        generator = self._generator(trial, sum(param_name.encode()))
        return param_distribution.choices[generator.integers(len(param_distribution.choices))]
