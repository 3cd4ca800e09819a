"""What our samplers read of a study, and how they draw what needs no history."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

Point = frozenset[tuple[str, Any]]
"""The values of all decisions, as a set, so that their order does not matter."""

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def finished_trials(study: Study) -> list[FrozenTrial]:
    """The trials that have a score and break no constraint, in the order in which they finished."""
    return [trial for trial in ended_trials(study) if has_score(trial)]


def ended_trials(study: Study) -> list[FrozenTrial]:
    """The same, and those that failed, broke a constraint or were pruned without a score."""
    trials = study.get_trials(deepcopy=False, states=ENDED)
    return sorted(trials, key=lambda trial: (trial.datetime_complete is None, trial.datetime_complete, trial.number))


def merit(study: Study, trial: FrozenTrial) -> float:
    """The trial's final score, or a pruned one's last; the higher the better, whatever the study's direction. What is
    not a number is worse than any."""
    value = trial.value if trial.value is not None else trial.intermediate_values[max(trial.intermediate_values)]
    if math.isnan(value):
        return -math.inf
    return -value if study.direction == StudyDirection.MINIMIZE else value


def draw_independently(seed: int, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
    """A uniform draw that the seed, the trial's number and the parameter's name decide."""
    sequence = np.random.SeedSequence([seed, trial.number, zlib.crc32(name.encode())])
    sampler = RandomSampler(seed=int(sequence.generate_state(1)[0]))
    return sampler.sample_independent(study, trial, name, distribution)


def point(params: Mapping[str, Any]) -> Point:
    return frozenset(params.items())


class TriedPoints:
    """What the trials before a given one tried, however they ended; a memory of what can be read off the study."""

    def __init__(self) -> None:
        self._study: Study | None = None
        self._points: set[Point] = set()
        self._count = 0

    def before(self, study: Study, trial: FrozenTrial) -> set[Point]:
        if study is not self._study or self._count > trial.number:
            self._study, self._points, self._count = study, set(), 0
        others = study.get_trials(deepcopy=False)[self._count : trial.number]
        self._points.update(point(other.params) for other in others)
        self._count = trial.number
        return self._points


def new_seed() -> int:
    """A seed from the operating system, for who gave none."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def has_score(trial: FrozenTrial) -> bool:
    if any(excess > 0 for excess in trial.constraints.values()):
        return False
    pruned = trial.state == TrialState.PRUNED and bool(trial.intermediate_values)
    return trial.state == TrialState.COMPLETE or pruned
