"""Curves on record, as the answers to a simulated search's proposals.

A proposal is any candidate of the space; few of them are on record. It is answered by the recorded one that differs
from it in the fewest decisions and was not given before, so that a sampler has less to learn than it really would have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.config import SpaceSettings, make_space, parse_config
from orchestrator.errors import InputError, last_line
from orchestrator.record import EPOCHS, EpochFields, RunDirectory
from orchestrator.simulation.controller import Row
from search_spaces import Architecture, CellSpace

FEWEST = 10
"""Fewer candidates would leave nothing to choose from."""

TABLE = ".parquet"


@dataclass(frozen=True)
class RecordedCurves:
    """Candidates that were trained for their whole budget.

    `codes` are their decisions, [candidate, decision], each as the number of its choice; `curves` have a row an epoch,
    with what a worker of cellscout reports.
    """

    space: CellSpace
    codes: NDArray[np.int64]
    curves: list[list[Row]]

    @classmethod
    def read(cls, location: str, space_name: str | None = None) -> Self:
        """From a run directory; or from a `trials.parquet` with its `epochs.parquet` beside it, of the space named.

        Raises:
            InputError: there is no such record, it is not of that space, or too few of it were trained in full.
        """
        if not location.endswith(TABLE):
            return cls.of_run(location, space_name)
        return cls.of_table(Path(location), make_space(SpaceSettings(name=space_name or "nasnet")))

    @classmethod
    def of_run(cls, location: str, space_name: str | None = None) -> Self:
        directory = RunDirectory.at(location)
        info = directory.read_info()
        if info.evaluation is not None:
            raise InputError(f"{directory} holds an evaluation; simulate the search that it is of")
        if space_name is not None:
            raise InputError(f"--space is {space_name!r}, but {directory} tells its own; --space is for tables")
        space = make_space(parse_config(info.config, str(directory)).space)
        completed = [trial for trial in directory.read_state().trials.values() if trial.status == "completed"]
        _check_count(len(completed), str(directory))
        curves = [[_row(row.model_dump()) for row in trial.curve] for trial in completed]
        return cls(space, np.array([_code(space, trial.params) for trial in completed]), curves)

    @classmethod
    def of_table(cls, trials: Path, space: CellSpace) -> Self:
        """From the tables that a search leaves."""
        try:
            candidates = pq.read_table(trials, columns=["trial_id", "status", "architecture"]).to_pylist()
            epochs = pq.read_table(trials.parent / EPOCHS).sort_by("epoch").to_pylist()
        except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
            raise InputError(f"{trials} and {EPOCHS} beside it cannot be read: {last_line(error)}") from error
        rows: dict[str, list[Row]] = {}
        for epoch in epochs:
            rows.setdefault(epoch["trial_id"], []).append(_row(epoch))
        completed = [trial for trial in candidates if trial["status"] == "completed" and trial["trial_id"] in rows]
        _check_count(len(completed), str(trials))
        try:
            found = [space.encode(Architecture.from_json(json.loads(trial["architecture"]))) for trial in completed]
        except ValueError as error:
            raise InputError(f"{trials} is not of the space {space.name!r}: {error} (--space)") from error
        return cls(
            space,
            np.array([_code(space, params) for params in found]),
            [rows[trial["trial_id"]] for trial in completed],
        )

    def answers(self) -> Callable[[dict[str, Any]], Sequence[Row]]:
        """For one simulation: the curve of the nearest candidate that was not given before."""
        used = np.zeros(len(self.curves), bool)

        def answer(params: dict[str, Any]) -> list[Row]:
            distance = (self.codes != _code(self.space, params)).sum(axis=1)
            nearest = int(np.argmin(np.where(used, self.codes.shape[1] + 1, distance)))
            used[nearest] = True
            return self.curves[nearest]

        return answer

    @property
    def epochs(self) -> int:
        """Of a whole training."""
        return max(len(curve) for curve in self.curves)

    @property
    def final(self) -> NDArray[np.float64]:
        """Validation accuracy after the whole budget, by candidate."""
        return np.array([curve[-1].metrics["val_accuracy"] for curve in self.curves])

    @property
    def training_seconds(self) -> float:
        """Mean time of a whole training."""
        return float(np.mean([sum(row.seconds for row in curve) for curve in self.curves]))


def _check_count(count: int, place: str) -> None:
    if count < FEWEST:
        raise InputError(
            f"{place} has {count} candidates that were trained in full; at least {FEWEST} are needed (a search with "
            "scheduler.name=fifo trains all of its budget.trials so)"
        )


def _code(space: CellSpace, params: Mapping[str, Any]) -> NDArray[np.int64]:
    domains = space.param_space()
    return np.array([domains[name].categories.index(params[name]) for name in domains])


def _row(recorded: Mapping[str, Any]) -> Row:
    """A recorded epoch as a worker reports it to the recorder."""
    result: dict[str, Any] = {name: recorded[name] for name in EpochFields.model_fields}
    result |= {"metrics": {}, "ended_at": 0.0}
    report: dict[str, Any] = {"facts": {"device": "recorded"}, "hostname": "recorded", "curve": [result]}
    report["diverged"] = False
    return Row(epoch=recorded["epoch"], seconds=recorded["seconds"], metrics={**result, **report})
