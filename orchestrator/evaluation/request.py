"""What an evaluation is to do, and whether the evaluation on record is the same, so that it can be resumed."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.evaluation.candidates import EvaluatedSearch
from orchestrator.evaluation.settings import EvaluationSettings
from orchestrator.record import INFO, EvaluationInfo, RecordedRun, RunDirectory, first_difference

TOP = 2
"""Candidates to evaluate if `--top` is not given; with several objectives it is the whole Pareto front."""


def request_of(settings: EvaluationSettings, searched: EvaluatedSearch) -> EvaluationInfo:
    """The description of this evaluation for `run.json`.

    Raises:
        ConfigError: the search has fewer than two candidates that can be compared.
    """
    several = len(searched.state.objectives) > 1
    best = searched.best(settings.top if several else settings.top or TOP)
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

    Returns None if there is none and one can be created.

    Raises:
        ConfigError: another evaluation is there.
        RunDirectoryError: something else is there, or nothing can be written there.
    """
    if not directory.folder.has(INFO):
        directory.check_usable()
        return None
    run = RecordedRun.read(directory)
    before = run.info.evaluation
    difference = "it is a search" if before is None else first_difference(_settings_of(before), _settings_of(requested))
    if difference is not None:
        raise ConfigError(f"{directory} cannot be resumed: {difference}; choose another --evaluation-dir")
    return run


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
