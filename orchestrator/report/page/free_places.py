"""Finds places in a run directory where the commands that a page suggests are accepted. Only reads the record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from orchestrator.errors import RunDirectoryError
from orchestrator.record import (
    EVALUATION,
    INFO,
    RETRAIN_SETTINGS,
    RETRAINED,
    EvaluationInfo,
    RunDirectory,
    RunInfo,
    RunState,
    Trial,
)
from orchestrator.report.page.next_steps import FOLDS, TOP, FullSize
from trainables.storage import reason


def evaluation_place(directory: RunDirectory, state: RunState) -> RunDirectory:
    """Return the directory for the suggested evaluation: the first that is free, or has begun this evaluation."""
    wanted = EvaluationInfo(
        candidates={trial.trial_id: trial.fingerprint for trial in state.to_evaluate(TOP)},
        folds=FOLDS,
        seeds=1,
        baseline=True,
        trials=state.trained,
    ).model_dump_json()  # with the order of the candidates
    for name in _names(EVALUATION):
        place = directory / name
        if not place.folder.has(INFO):
            return place
        before = place.read_info().evaluation
        if before is not None and before.model_dump_json() == wanted:
            return place
    raise AssertionError("the names do not end")


def read_begun(directory: RunDirectory) -> dict[str, Mapping[str, Any]]:
    """Read the settings of the retrainings that have begun, by the names of their folders.

    Raises:
        RunDirectoryError: they cannot be read, or are malformed.
    """
    retrained, found = directory.folder / RETRAINED, {}
    for name in retrained.folders():
        place = retrained / name
        try:
            if place.has(RETRAIN_SETTINGS):
                found[name] = json.loads(place.read(RETRAIN_SETTINGS)).get("asked", {})
        except OSError as error:
            raise RunDirectoryError(f"{place / RETRAIN_SETTINGS} cannot be read: {reason(error)}") from error
        except ValueError as error:
            raise RunDirectoryError(f"{place / RETRAIN_SETTINGS} is not JSON") from error
    return found


def retrain_name(begun: Mapping[str, Mapping[str, Any]], trial: Trial, size: FullSize, info: RunInfo) -> str:
    """Return the folder for the suggested retraining of a trial: the first that is free, or has begun this one."""
    recipe = {name: value for name, value in info.config.get("training", {}).items() if name != "preset"}
    wanted = {
        "training": recipe,
        "seeds": [info.seed],
        "early_stopping": None,
        "ema": 0.0,
        "weights": None,
        "freeze": False,
    }
    network = {"architecture": trial.architecture, "repeats": size.repeats, "filters": size.filters}
    for name in _names(trial.trial_id):
        before = begun.get(name)
        if before is None or (_has(before, wanted) and _has(before.get("network", {}), network)):
            return name
    raise AssertionError("the names do not end")


def _names(first: str) -> Iterator[str]:
    yield first
    yield from (f"{first}-{number}" for number in count(2))


def _has(values: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return {name: values.get(name) for name in wanted} == wanted
