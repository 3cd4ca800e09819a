"""The settings of an evaluation, and the check that a recorded one has the same settings and can continue."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.evaluation.candidates import EvaluatedSearch
from orchestrator.evaluation.effort import has_begun
from orchestrator.evaluation.settings import EvaluationSettings
from orchestrator.record import INFO, RANDOM, EvaluationInfo, RecordedRun, RunDirectory, first_difference

TOP = 2
"""Candidates to evaluate if `--top` is not given; with several objectives it is the whole Pareto front."""


def request_of(settings: EvaluationSettings, searched: EvaluatedSearch) -> EvaluationInfo:
    """The description of this evaluation for `run.json`.

    Raises:
        ConfigError: the search has fewer than two candidates that can be compared.
    """
    several = len(searched.state.objectives) > 1
    best = searched.state.to_evaluate(settings.top if several else settings.top or TOP)
    if len(best) < 2:
        raise ConfigError(
            f"too few candidates can be compared in {searched.run.directory}: {len(best)} "
            f"{'on the Pareto front' if several else 'with a score'}, at least 2 are needed; search on with "
            f"cellscout resume {searched.run.directory} --set budget.trials=..."
        )
    return EvaluationInfo(
        candidates={trial.trial_id: trial.fingerprint for trial in best},
        folds=settings.folds,
        seeds=settings.seeds,
        baseline=settings.baseline,
        trials=searched.state.trained,
    )


def find_recorded(directory: RunDirectory, requested: EvaluationInfo) -> RecordedRun | None:
    """Read the record of the evaluation in `directory`.

    Returns None if there is none and one can be created. As long as nothing was trained, the settings may change.

    Raises:
        ConfigError: another evaluation is there, in which something was trained.
        RunDirectoryError: something else is there, or nothing can be written there.
    """
    if not directory.folder.has(INFO):
        directory.check_usable()
        return None
    run = RecordedRun.read(directory)
    before = run.info.evaluation
    difference = "it is a search" if before is None else first_difference(_settings_of(before), _settings_of(requested))
    if before is None or (difference is not None and _has_trained(run, before, requested)):
        raise ConfigError(f"{directory} cannot be resumed: {difference}; choose another --evaluation-dir")
    return run


def _has_trained(run: RecordedRun, before: EvaluationInfo, requested: EvaluationInfo) -> bool:
    """Whether there is something that the request cannot use: a training, or the random search of another budget.

    A random search of equal cost serves any evaluation of the same search, as long as that has not gone on.
    """
    has_gone_on = before.trials != requested.trials
    return has_begun(run.state()) or (has_gone_on and (run.directory / RANDOM).folder.has(INFO))


def _settings_of(evaluation: EvaluationInfo) -> dict[str, Any]:
    """The request under the names of the options. The candidates come last: another difference may be their cause."""
    return {
        "--folds": evaluation.folds,
        "--seeds": evaluation.seeds,
        "--baseline": evaluation.baseline,
        "the search's number of trials": evaluation.trials,
        "the list of candidates (--top)": list(evaluation.candidates),
        "candidates": evaluation.candidates,
    }
