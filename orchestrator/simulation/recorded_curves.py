"""Provides recorded curves for the proposals of a simulated search.

A proposal can be any candidate of the space, and few of these are recorded. It gets the curve of the recorded candidate
that differs from it in the fewest decisions and was not used before, so a sampler can learn less than in a real search.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.config import SpaceSettings, make_space, space_of
from orchestrator.errors import InputError, last_line
from orchestrator.record import EPOCHS, TRIALS, EpochFields, RecordedRun
from orchestrator.simulation.answers import Curve
from orchestrator.simulation.controller import Row
from orchestrator.words import counted
from search_spaces import Architecture, CellSpace

MIN_CANDIDATES = 10
"""With fewer candidates there is too little to choose from."""

TABLE = ".parquet"
REPEATS = "repeats.parquet"
"""Further trainings of some trials with other seeds, beside their tables: trial_id, seed, epoch, val_accuracy."""


@dataclass(frozen=True)
class RecordedCurves:
    """The curves of candidates that were trained for their whole budget; implements `Answers`.

    The last score of a curve counts as the true one of its candidate.
    """

    space: CellSpace
    codes: NDArray[np.int64]
    """Their decisions [candidate, decision], each as the index of its choice."""
    curves: list[Curve]
    repeats: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    """The validation accuracies [training, epoch] of further whole trainings of some candidates, by their place."""

    def __post_init__(self) -> None:
        for curve in self.curves:
            if not 0 <= curve.final <= 1:
                raise InputError(f"a candidate has the score {curve.final:g}; simulate needs scores of 0 to 1")

    @classmethod
    def read(cls, location: str, space_name: str | None = None) -> Self:
        """Read the curves from a run directory, or from a `trials.parquet` with `epochs.parquet` in the same folder.

        Args:
            location: a run directory or the path of a `trials.parquet`.
            space_name: the space of a table, by default `nasnet`; None for a run directory, which records its space.

        Raises:
            InputError: there is no record, it has another space, or it has too few fully trained candidates.
        """
        if not location.endswith(TABLE):
            return cls.of_run(location, space_name)
        return cls.of_table(Path(location), make_space(SpaceSettings(name=space_name or "nasnet")))

    @classmethod
    def of_run(cls, location: str, space_name: str | None = None) -> Self:
        """Read the curves from a run directory, and `REPEATS` if it is there; `space_name` must be None."""
        run = RecordedRun.of_search(location)
        if space_name is not None:
            raise InputError(f"--space is {space_name!r}, but {run.directory} has its own space; --space is for tables")
        if "space" in run.info.passed:
            raise InputError(
                f"{run.directory} was searched in a space that was passed in Python; with module:NAME of that space: "
                f"cellscout simulate {shlex.quote(str(run.directory.folder / TRIALS))} --space module:NAME"
            )
        space = space_of(run.config)
        completed = [trial for trial in run.state().trials.values() if trial.status == "completed"]
        _check_count(len(completed), str(run.directory))
        curves = [_curve([row.model_dump() for row in trial.curve]) for trial in completed]
        code_of = _coder(space)
        codes = np.array([code_of(trial.params) for trial in completed])
        folder = run.directory.folder.local_path
        known = {trial.trial_id: curve for trial, curve in zip(completed, curves, strict=True)}
        return cls(space, codes, curves, {} if folder is None else _read_repeats(folder / REPEATS, known))

    @classmethod
    def of_table(cls, trials: Path, space: CellSpace) -> Self:
        """Read the curves from the tables of a search, and those of `REPEATS` if it is in the same folder."""
        try:
            candidates = pq.read_table(trials, columns=["trial_id", "status", "architecture", "purpose"]).to_pylist()
            epochs = pq.read_table(trials.parent / EPOCHS).sort_by("epoch").to_pylist()
        except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
            raise InputError(f"{trials} and {EPOCHS} in the same folder cannot be read: {last_line(error)}") from error
        rows: dict[str, list[dict[str, Any]]] = {}
        for epoch in epochs:
            rows.setdefault(epoch["trial_id"], []).append(epoch)
        completed = [
            trial
            for trial in candidates
            if trial["status"] == "completed" and trial["purpose"] == "search" and trial["trial_id"] in rows
        ]
        _check_count(len(completed), str(trials))
        try:
            found = [space.encode(Architecture.from_json(json.loads(trial["architecture"]))) for trial in completed]
        except ValueError as error:
            raise InputError(f"{trials} is not of the space {space.name!r}: {error} (--space)") from error
        code_of = _coder(space)
        return cls(
            space,
            np.array([code_of(params) for params in found]),
            [_curve(rows[trial["trial_id"]]) for trial in completed],
            _read_repeats(trials.parent / REPEATS, {trial["trial_id"]: rows[trial["trial_id"]] for trial in completed}),
        )

    def answers(self, seed: int) -> Callable[[dict[str, Any]], Curve]:
        """Return a function for one search that gives each proposal the curve of the nearest unused candidate."""
        used = np.zeros(len(self.curves), bool)
        code_of = _coder(self.space)

        def answer(params: dict[str, Any]) -> Curve:
            distance = (self.codes != code_of(params)).sum(axis=1)
            nearest = int(np.argmin(np.where(used, self.codes.shape[1] + 1, distance)))
            used[nearest] = True
            return self.curves[nearest]

        return answer

    @property
    def note(self) -> str:
        """What the answers are."""
        return (
            "each proposal gets the curve of the nearest recorded candidate, so samplers learn less than in a real "
            "search"
        )

    @property
    def limit(self) -> int:
        """The number of candidates, because each answers once."""
        return len(self.curves)

    @property
    def epochs(self) -> int:
        """The number of epochs of a whole training."""
        return max(len(curve) for curve in self.curves)

    @property
    def best(self) -> float:
        """The highest score of a candidate after its whole budget."""
        return max(curve.final for curve in self.curves)

    @property
    def worst(self) -> float:
        """The lowest score of a candidate after the whole budget."""
        return min(curve.final for curve in self.curves)

    @property
    def training_seconds(self) -> float:
        """The mean duration of a whole training."""
        return float(np.mean([sum(row.seconds for row in curve) for curve in self.curves]))


def _check_count(count: int, place: str) -> None:
    if count < MIN_CANDIDATES:
        raise InputError(
            f"{place} has {counted(count, 'candidate')} trained in full; at least {MIN_CANDIDATES} are needed (with "
            "scheduler.name=fifo a search trains all of its budget.trials in full)"
        )


def _coder(space: CellSpace) -> Callable[[Mapping[str, Any]], NDArray[np.int64]]:
    """Return a function that gives the decisions of a candidate, each as the index of its choice."""
    places = {name: {value: place for place, value in enumerate(choices)} for name, choices in space.decisions()}
    return lambda params: np.array([place[params[name]] for name, place in places.items()])


def _curve(recorded: Sequence[Mapping[str, Any]]) -> Curve:
    rows = [reported_row(epoch) for epoch in recorded]
    return Curve(rows, float(rows[-1].metrics["val_accuracy"]))


def _read_repeats(table: Path, curves: Mapping[str, Sequence[Any]]) -> dict[int, NDArray[np.float64]]:
    """Read the whole trainings of the table, by the place of their trial in `curves`."""
    if not table.is_file():
        return {}
    try:
        recorded = pq.read_table(table, columns=["trial_id", "seed", "epoch", "val_accuracy"]).sort_by("epoch")
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InputError(f"{table} cannot be read: {last_line(error)}") from error
    trainings: dict[str, dict[int, list[float]]] = {}
    for row in recorded.to_pylist():
        trainings.setdefault(row["trial_id"], {}).setdefault(row["seed"], []).append(row["val_accuracy"])
    found = {}
    for place, (trial_id, curve) in enumerate(curves.items()):
        whole = [scores for scores in trainings.get(trial_id, {}).values() if len(scores) == len(curve)]
        if whole:
            found[place] = np.array(whole)
    return found


def reported_row(recorded: Mapping[str, Any]) -> Row:
    """Convert the fields of a recorded epoch to the report that the recorder expects."""
    result = {**{name: recorded[name] for name in EpochFields.model_fields}, "metrics": {}, "ended_at": 0.0}
    facts: dict[str, Any] = {"device": "recorded"}
    metrics = {**result, "facts": facts, "hostname": "recorded", "curve": [result], "diverged": False}
    return Row(epoch=recorded["epoch"], seconds=recorded["seconds"], metrics=metrics)
