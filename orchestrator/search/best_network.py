"""Puts the winner of a search into `best/` of its run directory. Does not know how it was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.errors import SearchError
from orchestrator.record import RunDirectory, Trial
from search_spaces import Architecture
from trainables import TrialPlan
from trainables.storage import reason

UNCONFIRMED = {"winner": "unconfirmed"}
"""What `metrics.json` says of a trial that has the best score of single trainings."""


def put_in_best(trial: Trial, how: Mapping[str, Any], *, directory: RunDirectory, plan: TrialPlan) -> bool:
    """Write the trial's architecture, network, weights and metrics. Return False if its weights were not kept.

    Args:
        trial: the winner.
        how: it was chosen; added to `metrics.json`.
        directory: the run directory.
        plan: of the search.

    Raises:
        SearchError: it cannot be written.
    """
    network = plan.network_spec(Architecture.from_json(trial.architecture)).to_json()
    try:
        weights = _weights_of(trial, directory)
        directory.write_best(trial, network, weights, how)
    except OSError as error:
        raise SearchError(f"{directory.best} cannot be written: {reason(error)} (run.storage)") from error
    return weights is not None


def without_weights(trial: Trial) -> str:
    """Tell that the weights of a winner were not kept."""
    return f"the weights of trial {trial.trial_id} were not kept (run.keep_best); retrain trains it anew"


def _weights_of(trial: Trial, directory: RunDirectory) -> bytes | None:
    try:
        return directory.checkpoints.weights(trial.trial_id)
    except FileNotFoundError:
        return None
