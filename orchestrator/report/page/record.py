"""Reads what a page shows: the record of a run, its evaluation and its retrained networks. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from orchestrator.errors import RunDirectoryError
from orchestrator.record import (
    ENDED,
    EVALUATION,
    EVALUATION_RESULT,
    INFO,
    NETWORK,
    RANDOM,
    RETRAIN_RESULT,
    RETRAINED,
    Evaluation,
    RecordedRun,
    ResultFile,
    Retrained,
    RunDirectory,
    RunInfo,
    RunState,
    now,
)
from orchestrator.report.page.worker_timeline import Break, Stay, WorkerTimeline
from trainables.storage import Folder, reason

Kind = TypeVar("Kind", bound=ResultFile)


@dataclass(frozen=True, kw_only=True)
class PageRecord:
    """The record of a run, as the page shows it."""

    location: str
    """The run directory as an absolute path or a URI, so that commands with it work in any folder."""
    info: RunInfo
    standing: str
    """`running`, `died`, or how the run ended."""
    state: RunState
    """The state after all events."""
    stays: Sequence[Stay]
    """The times that trials were on workers."""
    evaluation: Evaluation | None
    """The result of the evaluation; None if there is none."""
    breaks: Sequence[Break]
    """The times in which the run was stopped."""
    sample: tuple[RunState, Sequence[Break]] | None
    """The evaluation's random search of equal cost, with its breaks; None if there is none."""
    retrained: dict[str, Retrained]
    """The retrained networks, by the names of their folders."""
    retrainable: bool
    """Whether the search has ended with a network, so that `cellscout retrain` accepts it."""
    read_at: datetime
    """When the record was read (UTC)."""

    @classmethod
    def read(cls, run: RecordedRun) -> PageRecord:
        """Read the record of a search.

        Raises:
            RunDirectoryError: the log is corrupt, or another file of the record is malformed.
        """
        directory, timeline = run.directory, WorkerTimeline()
        state = run.state(timeline.apply)
        standing, read_at = run.standing, now()
        return cls(
            location=_absolute_location(directory.folder),
            info=run.info,
            standing=standing,
            state=state,
            stays=timeline.stays(read_at if standing == "running" else None),
            evaluation=_read(directory.folder / EVALUATION, EVALUATION_RESULT, Evaluation),
            breaks=timeline.breaks,
            sample=_sample(directory / EVALUATION / RANDOM),
            retrained=_retrained(directory.folder / RETRAINED),
            retrainable=standing in ENDED and directory.best.has(NETWORK),
            read_at=read_at,
        )


def _absolute_location(folder: Folder) -> str:
    return folder.location if "://" in folder.location else str(Path(folder.path))


def _sample(directory: RunDirectory) -> tuple[RunState, Sequence[Break]] | None:
    if not directory.folder.has(INFO):
        return None
    timeline = WorkerTimeline()
    return RecordedRun.read(directory).state(timeline.apply), timeline.breaks


def _retrained(folder: Folder) -> dict[str, Retrained]:
    found = {name: _read(folder / name, RETRAIN_RESULT, Retrained) for name in folder.names()}
    return {name: one for name, one in found.items() if one is not None}


def _read(folder: Folder, name: str, kind: type[Kind]) -> Kind | None:
    """Read a result file; return None if there is no such file."""
    try:
        if not folder.has(name):
            return None
        return kind.model_validate_json(folder.read(name))
    except OSError as error:
        raise RunDirectoryError(f"{folder / name} cannot be read: {reason(error)}") from error
    except ValidationError as error:
        raise RunDirectoryError(f"{folder / name} is malformed: {error.errors()[0]['msg']}") from error


__all__ = ["Evaluation", "PageRecord", "Retrained"]
