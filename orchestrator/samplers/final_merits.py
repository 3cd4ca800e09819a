"""Scores of trials at the end of their training, estimated for stopped ones, so that any two can be compared.

Knows Optuna. Does not know any sampler.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median, variance

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from orchestrator.samplers.history import curve_of

MIN_GAINS = 3
"""Complete trials with a score at a step that say how surely a trial gains after it."""


class FinalMerits:
    """The merits of trials at the end of their training, by one objective; higher is better, and NaN is -inf.

    The merit of a complete trial is its score, with the sign flipped if the study minimises. A pruned or paused one has
    its last score plus the median gain of complete trials since that step; without such trials, its last score.

    Args:
        study: its directions say which scores are good.
        finished: trials with a score: complete, pruned or paused.
        objective: place of the objective.
    """

    def __init__(self, study: Study, finished: Iterable[FrozenTrial] = (), *, objective: int = 0) -> None:
        self._objective = objective
        self._sign = -1.0 if study.directions[objective] == StudyDirection.MINIMIZE else 1.0
        self._complete: list[FrozenTrial] = []
        self._gains: dict[int, list[float]] = {}
        """The gains of complete trials since each step at which a trial was pruned or paused."""
        for trial in finished:
            self.add(trial)

    def add(self, trial: FrozenTrial) -> None:
        """Count one more trial with a score."""
        if trial.state != TrialState.COMPLETE:
            return
        self._complete.append(trial)
        for step, gains in self._gains.items():
            gains += self._gain(trial, step)

    def of(self, trial: FrozenTrial) -> float:
        """Return the merit of a trial with a score."""
        if trial.state == TrialState.COMPLETE:
            return self._merit(trial.values[self._objective])
        curve = self._curve(trial)
        step = max(curve)
        gains = self._gains_since(step)
        return self._merit(curve[step]) + (median(gains) if gains else 0.0)

    def variance_of(self, trial: FrozenTrial) -> float:
        """Return the variance of what is estimated of a trial: 0 if it is complete, NaN if it cannot be said."""
        if trial.state == TrialState.COMPLETE:
            return 0.0
        gains = self._gains_since(max(self._curve(trial)))
        return variance(gains) if len(gains) >= MIN_GAINS else math.nan

    def _curve(self, trial: FrozenTrial) -> Mapping[int, float]:
        return curve_of(trial, self._objective)

    def _merit(self, score: float) -> float:
        return -math.inf if math.isnan(score) else self._sign * score

    def _gains_since(self, step: int) -> list[float]:
        if step not in self._gains:
            self._gains[step] = [gain for trial in self._complete for gain in self._gain(trial, step)]
        return self._gains[step]

    def _gain(self, trial: FrozenTrial, step: int) -> list[float]:
        """What a complete trial gained since a step, if that is a finite number."""
        curve = self._curve(trial)
        if step not in curve:
            return []
        gain = self.of(trial) - self._merit(curve[step])
        return [gain] if math.isfinite(gain) else []
