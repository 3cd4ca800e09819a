"""How many trainings an evaluation has, and about how long they take. Pure functions of the records; no files."""

from __future__ import annotations

import math
from statistics import mean

from orchestrator.progress import format_estimate
from orchestrator.record import ENDED, EvaluationInfo, RunState
from orchestrator.significance import relative_reach
from orchestrator.words import counted

MIN_TRAININGS = 5
"""With fewer trainings of each candidate, nothing is tested and there is no winner."""

FULLER_SEEDS = 3
"""The seeds of a fuller evaluation, which the result of one with fewer seeds describes."""


def has_begun(state: RunState) -> bool:
    """Whether a training of a run has begun."""
    return any(trial.was_started or trial.status != "running" for trial in state.trials.values())


def remaining_work(
    wanted: EvaluationInfo, *, searched: RunState, state: RunState, sample: RunState, epochs: int, slots: int
) -> str:
    """Say what an evaluation still has to train and about how long that takes, as one line.

    A training is expected to take as long as those of the same candidates in the search, and the random search as long
    as the search.

    Args:
        searched: the search that is evaluated.
        state: the evaluation; once a training has begun, its recorded plan counts instead of `wanted`.
        sample: the random search of equal cost, finished or not; empty if it has not begun.
        epochs: length of a full training.
        slots: number of trainings at a time.
    """
    plan = state.evaluation if has_begun(state) else None
    candidates = len(wanted.candidates) + wanted.baseline if plan is None else len(plan.candidates)
    planned = candidates * wanted.folds * wanted.seeds
    left = planned - (0 if plan is None else sum(trial.status != "running" for trial in state.trials.values()))
    trials = [searched.trials[trial_id] for trial_id in wanted.candidates]
    seconds = math.ceil(left / slots) * mean(trial.train_seconds / trial.epochs * epochs for trial in trials)
    product = f"{candidates} candidates x {wanted.folds} folds x {counted(wanted.seeds, 'seed')}"
    trainings = f"{counted(left, 'training') if left == planned else f'{left} of {planned} trainings left'} ({product})"
    if plan is None and wanted.baseline:
        trainings = f"at most {trainings}"
        if sample.outcome not in ENDED:
            seconds += max(0.0, _search_seconds(searched) * searched.slots / slots - sample.active_seconds())
            rest = "" if sample.started_at is None else "the rest of "
            trainings = f"{rest}a random search of equal cost, then {trainings}"
    few = wanted.folds * wanted.seeds < MIN_TRAININGS
    doubt = f"; fewer than {MIN_TRAININGS} trainings of each give no verdict (--folds, --seeds)" if few else ""
    return f"{trainings} on {counted(slots, 'worker')}: about {format_estimate(seconds)}{doubt}"


def _search_seconds(searched: RunState) -> float:
    """The time of the search without its confirmation, which the random search does not have."""
    whole = sum(trial.train_seconds for trial in searched.all_trials())
    own = sum(trial.train_seconds for trial in searched.trials.values())
    return searched.active_seconds() * (own / whole if whole else 1.0)


def fuller_evaluation(state: RunState, sample: RunState | None) -> str | None:
    """Say what an evaluation with `FULLER_SEEDS` seeds would add and cost; None if this one has as many.

    Args:
        state: the evaluation, with a training that has completed.
        sample: the random search of equal cost, if there is one; another evaluation searches again.
    """
    plan = state.evaluation
    assert plan is not None, "it has been planned"
    if len(plan.seeds) >= FULLER_SEEDS:
        return None
    candidates, folds = len(plan.candidates), plan.folds
    trainings = candidates * folds * FULLER_SEEDS
    reach = [relative_reach(folds * seeds, folds, candidates) for seeds in (len(plan.seeds), FULLER_SEEDS)]
    each = mean(trial.train_seconds for trial in state.trials.values() if trial.status == "completed")
    seconds = math.ceil(trainings / max(1, state.slots)) * each + (0.0 if sample is None else sample.active_seconds())
    narrower = 100 * (1 - reach[1] / reach[0])
    again = "" if sample is None else " and a random search"
    return (
        f"With --seeds {FULLER_SEEDS} the intervals would be about {narrower:.0f} % narrower: {trainings} trainings"
        f"{again}, about {format_estimate(seconds)}, in another --evaluation-dir."
    )
