"""A run's state -> its Optuna study, the same one that its sampler saw.

Every state is the true one: COMPLETE only with the whole budget, PRUNED with the values at the trial's own epochs, FAIL
for errors and divergence. Knows Optuna and the run's state; does not know which sampler is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.errors import RunDirectoryError
from orchestrator.record import EpochDone, RecordedRun, RunState, Trial
from orchestrator.samplers import CURVES, END_PLACE, TRAININGS
from orchestrator.study.distributions import read_distributions
from orchestrator.study.optuna_internals import StudyAttributes

TRIAL_STATES = {
    "completed": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "infeasible": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}
"""Optuna's state for each status of a trial; a duplicate has the state of the trial that answered it."""

optuna.logging.set_verbosity(optuna.logging.WARNING)  # otherwise it reports every study on standard error


def load_study(run_dir: Path | str) -> optuna.Study:
    """The Optuna study of a running or ended run, in memory, for `optuna.visualization`, importances or a sampler.

    Args:
        run_dir: a path, or a URI such as `s3://bucket/runs/digits-20261121-120000`.

    Raises:
        RunDirectoryError: there is no run, its log is corrupt, or it did not begin.
    """
    state = RecordedRun.read(run_dir).state()
    if not state.objectives:
        raise RunDirectoryError(f"{run_dir} holds a run that did not begin: its log is empty")
    study = rebuild_study(state)
    name_metrics(study, state)
    return study


def name_metrics(study: optuna.Study, state: RunState) -> None:
    """Name the study's values after the objectives, for Optuna's plots and optuna-dashboard."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # since Optuna 3.2, and in no way unstable
        study.set_metric_names(list(state.objectives))


def rebuild_study(
    state: RunState, sampler: BaseSampler | None = None, storage: BaseStorage | None = None
) -> optuna.Study:
    """Build the study as it is after the state's events, in a new in-memory storage unless one is given."""
    storage = storage or InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=sampler, directions=list(state.objectives.values()))
    distributions = read_distributions(state.distributions)
    for trial in [*state.imported.values(), *state.trials.values()]:
        study.add_trial(frozen_trial(trial, state, distributions))
    attributes = StudyAttributes(study, storage)
    for name, value in state.study_attributes.items():
        attributes.write(name, value)
    return study


def study_of_values(state: RunState, trials: Iterable[Trial]) -> optuna.Study:
    """Build a study of completed trials with their values only, in their order, for plots of the values.

    The whole study of thousands of trials takes seconds to build, nearly all of them for the parameters.
    """
    study = optuna.create_study(storage=InMemoryStorage(), directions=list(state.objectives.values()))
    for trial in trials:
        study.add_trial(create_trial(values=optuna_outcome(trial, state)[1]))
    return study


def frozen_trial(trial: Trial, state: RunState, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    """Convert a trial to Optuna's; a running one has what is known so far, and an ended one what `learned` returns."""
    trial_state, values, trainings = learned(trial, state)
    curve = intermediate_values(trial, state)
    if trial_state == TrialState.PRUNED and curve:
        values = [curve[max(curve)]]  # as `optuna.Study.tell` does
    frozen = create_trial(
        state=trial_state,
        values=values,
        params=trial.params,
        distributions=distributions,
        user_attrs=user_attributes(trial, state) | trainings,
        system_attrs=dict(trial.attributes),
        intermediate_values=curve,
    )
    for name, excess in state.violations(trial).items():
        frozen.set_constraint(name, excess)
    frozen.datetime_start = trial.suggested_at.astimezone().replace(tzinfo=None)  # Optuna's are naive and local
    ended = trial.ended_at or trial.suggested_at
    frozen.datetime_complete = ended.astimezone().replace(tzinfo=None) if trial_state.is_finished() else None
    return frozen


def learned(trial: Trial, state: RunState) -> tuple[TrialState, list[float] | None, dict[str, int]]:
    """What a sampler learns: Optuna's state of the trial, its values if it is complete, and `TRAININGS` if several.

    The values of a candidate that was trained again in a confirmation are the means of its trainings: one point with
    less noise. A duplicate has those of its original.
    """
    trial_state, values = optuna_outcome(trial, state)
    original = state.original(trial)
    repeats = [repeat for repeat in state.repeats_of(original) if repeat.status == "completed"]
    if values is None or not repeats:
        return trial_state, values, {}
    means = [_mean_value([original, *repeats], name) for name in state.objectives]
    return trial_state, means, {TRAININGS: 1 + len(repeats)}


def _mean_value(trials: Sequence[Trial], name: str) -> float:
    """The mean of a metric over several trainings of one candidate."""
    return fmean(value for trial in trials if (value := trial.metric(name)) is not None)


def optuna_outcome(trial: Trial, state: RunState) -> tuple[TrialState, list[float] | None]:
    """Optuna's state of the trial, and its values if it is complete."""
    trial_state = TRIAL_STATES[state.original(trial).status]
    if trial_state != TrialState.COMPLETE:
        return trial_state, None
    values = [trial.metric(name) for name in state.objectives]
    assert all(value is not None for value in values)
    return trial_state, [float(value) for value in values if value is not None]


def intermediate_values(trial: Trial, state: RunState) -> dict[int, float]:
    """The intermediate values of the trial's curve, by epoch."""
    values = {row.epoch: intermediate_value(row, trial, state) for row in trial.curve}
    return {epoch: value for epoch, value in values.items() if value is not None}


def intermediate_value(row: EpochDone, trial: Trial, state: RunState) -> float | None:
    """The value that Optuna receives for an epoch; None with several objectives, for which Optuna takes none."""
    if len(state.objectives) > 1:
        return None
    return _value(row, trial, next(iter(state.objectives)))


def _value(row: EpochDone, trial: Trial, objective: str) -> float | None:
    if objective == "latency_seconds":
        return trial.latency_seconds
    return trial.costs.get(objective, row.metric(objective))


def user_attributes(trial: Trial, state: RunState) -> dict[str, Any]:
    """Attributes that a reader of the study needs besides the parameters, and those of its end or of its last pause.

    Optuna cannot remove an attribute, so those of a pause are empty when the trial has continued.
    """
    attributes: dict[str, Any] = {"trial_id": trial.trial_id, "fingerprint": trial.fingerprint}
    if trial.end_place is None and trial.pause_place is None:
        return attributes
    place = trial.pause_place if trial.paused else trial.end_place
    if len(state.objectives) > 1:
        curve = [] if place is None else trial.curve
        values = {row.epoch: [_value(row, trial, name) for name in state.objectives] for row in curve}
        attributes[CURVES] = [[epoch, *row] for epoch, row in values.items() if None not in row]
    return {**attributes, END_PLACE: place}
