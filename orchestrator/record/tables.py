"""The tables of a run's state: one row per trial, one row per epoch; and their Parquet files.

A search writes them at its end, and `cellscout report` at any time. They are derived: they may be deleted.
"""

from __future__ import annotations

import json
from types import NoneType
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic.fields import FieldInfo

from orchestrator.record.events import EpochFields
from orchestrator.record.run_state import RunState
from orchestrator.record.trial import Trial
from trainables.storage import Folder

TRIALS = "trials.parquet"
EPOCHS = "epochs.parquet"

_TIME = pa.timestamp("us", tz="UTC")

TRIAL_SCHEMA = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("architecture", pa.string(), nullable=False),
        pa.field("fingerprint", pa.string(), nullable=False),
        pa.field("parameters", pa.int64()),
        pa.field("macs", pa.int64()),
        pa.field("epochs", pa.int32(), nullable=False),
        pa.field("val_accuracy", pa.float64()),
        pa.field("best_val_accuracy", pa.float64()),
        pa.field("train_seconds", pa.float64(), nullable=False),
        pa.field("wall_seconds", pa.float64()),
        pa.field("started_at", _TIME),
        pa.field("ended_at", _TIME),
        pa.field("node", pa.string()),
        pa.field("device", pa.string()),
        pa.field("attempt", pa.int32(), nullable=False),
        pa.field("duplicate_of", pa.string()),
        pa.field("purpose", pa.string(), nullable=False),
        pa.field("repeats", pa.string()),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("error", pa.string()),
    ]
)

FOLD = pa.field("fold", pa.int32(), nullable=False)
"""An additional column of the trials of an evaluation."""


def _column(name: str, field: FieldInfo) -> pa.Field:
    """The column of an epoch's field; it has nulls if the field may be None."""
    kinds = get_args(field.annotation) or (field.annotation,)
    return pa.field(name, _COLUMN_TYPES[kinds[0]], nullable=NoneType in kinds)


_COLUMN_TYPES = {int: pa.int32(), float: pa.float64()}

EPOCH_SCHEMA = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        *(_column(name, field) for name, field in EpochFields.model_fields.items()),
        pa.field("ended_at", _TIME, nullable=False),
    ]
)


def write_tables(state: RunState, folder: Folder, seed: int) -> None:
    """Write `trials.parquet` and `epochs.parquet`, each atomically. For `seed` see `trial_table`."""
    write_table(trial_table(state, seed), folder, TRIALS)
    write_table(epoch_table(state), folder, EPOCHS)


def trial_table(state: RunState, seed: int) -> pa.Table:
    """Return one row per trial of the search and of its confirmation; `purpose` says what each trial was for.

    Besides the schema's columns there is one for each further objective and for each metric of the trainable's own. The
    trials of an evaluation also have their fold (0..folds - 1).

    Args:
        state: of the run.
        seed: of the run, with which the trials of the search are trained.
    """
    all_trials = list(state.all_trials())
    measured = any(trial.latency_seconds is not None for trial in all_trials)
    names = [*(["latency_seconds"] if measured else []), *state.objectives, *_metrics(state)]
    further = [name for name in dict.fromkeys(names) if name not in TRIAL_SCHEMA.names]
    trials = [
        {
            "trial_id": trial.trial_id,
            "status": trial.status,
            "architecture": json.dumps(trial.architecture),
            "fingerprint": trial.fingerprint,
            "parameters": trial.parameters,
            "macs": trial.macs,
            **{name: trial.metric(name) for name in further},
            "epochs": trial.epochs,
            "val_accuracy": trial.val_accuracy,
            "best_val_accuracy": trial.best_val_accuracy,
            "train_seconds": trial.train_seconds,
            "wall_seconds": trial.wall_seconds,
            "started_at": trial.started_at,
            "ended_at": trial.ended_at,
            "node": trial.node,
            "device": trial.device,
            "attempt": trial.attempt,
            "duplicate_of": trial.duplicate_of,
            "error": trial.error,
            "purpose": _purpose(trial),
            "repeats": trial.repeats,
            "seed": seed if trial.resample is None else trial.resample.seed,
            "split": "search" if trial.resample is None else str(trial.resample),
            **({} if trial.resample is None or state.evaluation is None else {"fold": trial.resample.fold}),
        }
        for trial in all_trials
    ]
    schema = TRIAL_SCHEMA if state.evaluation is None else TRIAL_SCHEMA.append(FOLD)
    return pa.Table.from_pylist(trials, _with(schema, further))


def epoch_table(state: RunState) -> pa.Table:
    """Return one row per trial and epoch, with a column for each metric of the trainable's own."""
    epochs = [
        {**row.model_dump(exclude={"event", "time", "metrics"}), "ended_at": row.time, **row.metrics}
        for trial in state.all_trials()
        if trial.duplicate_of is None  # else its curve is that of another trial
        for row in trial.curve
    ]
    return pa.Table.from_pylist(epochs, _with(EPOCH_SCHEMA, _metrics(state)))


def _metrics(state: RunState) -> list[str]:
    """The metrics of the trainable's own."""
    return sorted({name for trial in state.all_trials() for row in trial.curve for name in row.metrics})


def _purpose(trial: Trial) -> str:
    if trial.resample is None:
        return "search"
    return "evaluation" if trial.repeats is None else "confirmation"


def _with(schema: pa.Schema, names: list[str]) -> pa.Schema:
    for name in names:
        schema = schema.append(pa.field(name, pa.float64()))
    return schema


def write_table(table: pa.Table, folder: Folder, name: str) -> None:
    """Write the table as Parquet, atomically."""
    content = pa.BufferOutputStream()
    pq.write_table(table, content)
    folder.write(name, content.getvalue().to_pybytes())
