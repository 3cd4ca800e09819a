"""What an evaluation is asked for, checked; and what of it is on record, so that only the same is gone on with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.evaluation.candidates import EvaluatedSearch
from orchestrator.record import INFO, EvaluationInfo, RunDirectory, RunInfo, first_difference

TOP = 5


@dataclass(frozen=True)
class EvaluationSettings:
    """
    Args:
        top: how many of the best candidates, at least 2; None: 5, or with several objectives the whole Pareto front.
        folds: of the cross-validation, at least 2.
        seeds: how many, at least 1; each shuffles the images and begins the training differently.
        baseline: whether to search at random at equal cost, and to evaluate the best of that too.

    Raises:
        ConfigError: a value is out of its bounds.
    """

    top: int | None = None
    folds: int = 5
    seeds: int = 3
    baseline: bool = True

    def __post_init__(self) -> None:
        for name, value, least, why in (
            ("top", self.top, 2, "one candidate cannot be compared"),
            ("folds", self.folds, 2, "one is held out, and the others are trained on"),
            ("seeds", self.seeds, 1, "each candidate is trained for each seed"),
        ):
            if value is not None and value < least:
                raise ConfigError(f"--{name} is {value}; it must be at least {least}: {why}")

    def wanted(self, searched: EvaluatedSearch) -> EvaluationInfo:
        """What `run.json` is to say of this evaluation.

        Raises:
            ConfigError: the search has fewer than two candidates that can be compared.
        """
        several = len(searched.state.objectives) > 1
        best = searched.best(self.top if several else self.top or TOP)
        if len(best) < 2:
            raise ConfigError(
                f"too few candidates can be compared in {searched.directory}: {len(best)} "
                f"{'on the Pareto front' if several else 'with a score'}, at least 2 are needed; search on with "
                f"cellscout resume {searched.directory} --set budget.trials=..."
            )
        return EvaluationInfo(
            candidates={trial.trial_id: trial.fingerprint for trial in best},
            folds=self.folds,
            seeds=self.seeds,
            baseline=self.baseline,
            trials=searched.trained,
        )


def recorded(directory: RunDirectory, wanted: EvaluationInfo) -> RunInfo | None:
    """What `run.json` says of the evaluation that is there already; None if none is, and one can be made.

    Raises:
        ConfigError: it is another one.
        RunDirectoryError: something else is there, or nothing can be written there.
    """
    if not directory.folder.has(INFO):
        directory.check_usable()
        return None
    info = directory.read_info()
    difference = (
        "a search is there"
        if info.evaluation is None
        else first_difference(_settings_of(info.evaluation), _settings_of(wanted))
    )
    if difference is not None:
        raise ConfigError(f"{directory} cannot be gone on with: {difference}; for another one, choose --evaluation-dir")
    return info


def _settings_of(evaluation: EvaluationInfo) -> dict[str, Any]:
    """By the names that the user knows. The candidates are last, because they may differ for one of the others."""
    return {
        "--folds": evaluation.folds,
        "--seeds": evaluation.seeds,
        "--baseline": evaluation.baseline,
        "the search's number of trials": evaluation.trials,
        "the list of candidates (--top)": list(evaluation.candidates),
        "candidates": evaluation.candidates,
    }
