"""Optuna's TPE sampler, told apart what is good in a search with several objectives and early stopping.

Knows Optuna.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, final

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

# Deprecated by Optuna, which removes it in 6.0 only; nothing else decides how many trials are good ones.
warnings.filterwarnings("ignore", message="`gamma` has been deprecated", category=FutureWarning)


@final
class TPESampler(optuna.samplers.TPESampler):
    """Optuna's TPE sampler. With several objectives, only complete trials count as good ones.

    TPE divides the trials into good and other ones. If too few are complete, Optuna also takes pruned trials for good
    ones. With several objectives these have no value, so that the oldest would count as good for ever.

    Args:
        options: those of Optuna's `TPESampler`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"gamma": self._good, **options})
        self._limit = math.inf
        self._several = False

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Count the complete trials."""
        super().before_trial(study, trial)
        self._several = len(study.directions) > 1
        if self._several:
            ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
            allowed = [other for other in ended if all(excess <= 0 for excess in other.constraints.values())]
            complete = sum(other.state == TrialState.COMPLETE for other in allowed)
            self._limit = math.inf if complete == len(allowed) else complete

    def _good(self, trials: int) -> int:
        """The number of good trials among so many: Optuna's own, up to the limit."""
        tenth = math.ceil(0.1 * trials)
        return int(min(tenth, self._limit)) if self._several else min(tenth, 25)
