"""A sampler of one's own, for `examples/own_sampler.toml`: mutate the best candidate so far, or now and then draw anew.

A sampler is an `optuna.samplers.BaseSampler`: it reads the study and returns a value for each parameter.
"""

import numpy as np
from optuna.samplers import BaseSampler
from optuna.trial import TrialState


class GreedySampler(BaseSampler):
    """Give it options in the search file; `seed` and `space` are passed in if it takes them."""

    several_objectives = False

    def __init__(self, seed, exploration=0.2):
        self.seed, self.exploration = seed, exploration

    def _generator(self, trial, purpose):
        # From seed and trial number alone, so that a resumed search goes on as this one would have.
        return np.random.default_rng([self.seed, trial.number, purpose])

    def _best(self, study):
        # Not `study.best_trial`, which of equal ones is the first to end, and after a resume the first to be proposed.
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
