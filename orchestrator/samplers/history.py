"""Helpers shared by our samplers: read a study's history, and draw parameters that do not depend on it.

Knows Optuna. Does not know any sampler.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

Point = frozenset[tuple[str, Any]]
"""The values of all decisions, as a set, so that their order does not matter."""

END_PLACE = "end_place"
"""User attribute of a trial that has ended or is paused: how many trials ended or paused before it.

A paused trial is RUNNING for Optuna. A scheduler took it off its worker, perhaps for good, so it counts like a pruned
one. When it continues, the attribute becomes None, and the trial counts as running again.
"""

CURVES = "curves"
"""User attribute of an ended or paused trial with several objectives, for which Optuna takes no intermediate values.

One list for each epoch: the epoch, then the value of each objective.
"""

TRAININGS = "trainings"
"""User attribute of a trial whose candidate was trained several times: how often. Its value is the mean."""


def check_one_objective(study: Study, sampler: BaseSampler) -> None:
    """Raise a ValueError if the study has several objectives, of which the sampler would read only the first."""
    if len(study.directions) > 1:
        raise ValueError(
            f"the study has {len(study.directions)} objectives; {type(sampler).__name__} takes 1: use a sampler for "
            "several, such as Optuna's NSGAIISampler"
        )


def finished_trials(study: Study) -> list[FrozenTrial]:
    """Return the ended and paused trials that have a score and break no constraint, in the order of `ended_trials`."""
    return [trial for trial in ended_trials(study) if has_score(trial)]


def ended_trials(study: Study) -> list[FrozenTrial]:
    """Return all ended and paused trials, in the order in which they ended or paused.

    Unlike `finished_trials`, includes those that failed, broke a constraint or were pruned without a score.

    The order is that of `END_PLACE`, because Optuna's times are local: in autumn an hour occurs twice. A study that
    cellscout did not make has only these times.
    """
    return sorted((trial for trial in study.get_trials(deepcopy=False) if has_ended(trial)), key=end_order)


def begins_with(ended: Sequence[FrozenTrial], counted: Sequence[FrozenTrial]) -> bool:
    """Return whether these trials, of `ended_trials`, begin with those that were counted before, unchanged since."""
    pairs = zip(ended, counted, strict=False)
    # Most trials are the same objects as before, which is quicker to see.
    same = all(one is other or end_order(one) == end_order(other) for one, other in pairs)
    return same and len(ended) >= len(counted)


def has_ended(trial: FrozenTrial) -> bool:
    """Return whether the trial has ended, or is paused: see `END_PLACE`."""
    return trial.state.is_finished() or trial.user_attrs.get(END_PLACE) is not None


def end_order(trial: FrozenTrial) -> tuple[float, float, int]:
    """Return what `ended_trials` sorts by. It changes if a paused trial continues, and pauses again or ends."""
    ended = trial.datetime_complete
    return trial.user_attrs.get(END_PLACE, math.inf), math.inf if ended is None else ended.timestamp(), trial.number


def draw_independently(
    study: Study, trial: FrozenTrial, *, name: str, distribution: BaseDistribution, seed: int
) -> Any:
    """Draw a parameter uniformly; the seed, the trial's number and the parameter's name determine the draw."""
    sequence = np.random.SeedSequence([seed, trial.number, zlib.crc32(name.encode())])
    sampler = RandomSampler(seed=int(sequence.generate_state(1)[0]))
    return sampler.sample_independent(study, trial, name, distribution)


def to_point(params: Mapping[str, Any]) -> Point:
    """Return the parameters as a point."""
    return frozenset(params.items())


class TriedPoints:
    """The points of all trials before a given one, in any state; a cache of what the study holds."""

    def __init__(self) -> None:
        self._study: Study | None = None
        self._points: set[Point] = set()
        self._count = 0

    def before(self, study: Study, trial: FrozenTrial) -> set[Point]:
        """Return the points of all trials with a lower number. Do not change the set: it is the cache."""
        if study is not self._study or self._count > trial.number:
            self._study, self._points, self._count = study, set(), 0
        others = study.get_trials(deepcopy=False)[self._count : trial.number]
        self._points.update(to_point(other.params) for other in others)
        self._count = trial.number
        return self._points


def new_seed() -> int:
    """Return a seed from the operating system; used if no seed was given."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def has_score(trial: FrozenTrial) -> bool:
    """Return whether the trial has a score (a pruned or paused one: any reported value) and breaks no constraint."""
    if any(excess > 0 for excess in trial.constraints.values()):
        return False
    if trial.state == TrialState.COMPLETE:
        return True
    stopped = trial.state != TrialState.FAIL and has_ended(trial)
    return stopped and bool(trial.intermediate_values or trial.user_attrs.get(CURVES))


def curve_of(trial: FrozenTrial, objective: int) -> dict[int, float]:
    """Return the values of an objective by epoch."""
    if CURVES in trial.user_attrs:
        return {row[0]: row[1 + objective] for row in trial.user_attrs[CURVES]}
    return trial.intermediate_values
