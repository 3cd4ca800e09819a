"""All that a page is made from, read once: a run's record, and what was made of it since. Writes nothing."""

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
from orchestrator.report.page.worker_timeline import Break, Occupancy, Stay
from trainables.storage import Folder, reason

Kind = TypeVar("Kind", bound=ResultFile)


@dataclass(frozen=True, kw_only=True)
class PageRecord:
    """
    Args:
        location: of the run directory, so that a command finds it from any folder: a whole path, or the URI.
        info: of `run.json`.
        standing: `running`, `died`, or how the run ended.
        state: what the events add up to.
        stays: of the trials on workers.
        breaks: in the run.
        evaluation: what it came to; None if there is none.
        sample: the random search of equal cost beside the evaluation with its breaks, if there is one.
        retrained: the networks that were retrained, by the names of their folders.
        retrainable: whether the search has ended with a network, so that `cellscout retrain` takes it.
        read_at: when all this was so (UTC).
    """

    location: str
    info: RunInfo
    standing: str
    state: RunState
    stays: Sequence[Stay]
    evaluation: Evaluation | None
    breaks: Sequence[Break]
    sample: tuple[RunState, Sequence[Break]] | None
    retrained: dict[str, Retrained]
    retrainable: bool
    read_at: datetime

    @classmethod
    def read(cls, run: RecordedRun) -> PageRecord:
        """Read what the page of this search shows.

        Raises:
            RunDirectoryError: its log is corrupt, or a file beside it is malformed.
        """
        directory, occupancy = run.directory, Occupancy()
        state = run.state(occupancy.apply)
        standing, read_at = run.standing, now()
        return cls(
            location=_findable(directory.folder),
            info=run.info,
            standing=standing,
            state=state,
            stays=occupancy.stays(read_at if standing == "running" else None),
            evaluation=_read(directory.folder / EVALUATION, EVALUATION_RESULT, Evaluation),
            breaks=occupancy.breaks,
            sample=_sample(directory / EVALUATION / RANDOM),
            retrained=_retrained(directory.folder / RETRAINED),
            retrainable=standing in ENDED and directory.best.has(NETWORK),
            read_at=read_at,
        )


def _findable(folder: Folder) -> str:
    return folder.location if "://" in folder.location else str(Path(folder.path))


def _sample(directory: RunDirectory) -> tuple[RunState, Sequence[Break]] | None:
    if not directory.folder.has(INFO):
        return None
    occupancy = Occupancy()
    return RecordedRun.read(directory).state(occupancy.apply), occupancy.breaks


def _retrained(folder: Folder) -> dict[str, Retrained]:
    found = {name: _read(folder / name, RETRAIN_RESULT, Retrained) for name in folder.names()}
    return {name: one for name, one in found.items() if one is not None}


def _read(folder: Folder, name: str, kind: type[Kind]) -> Kind | None:
    """None if there is no such file."""
    try:
        if not folder.has(name):
            return None
        return kind.model_validate_json(folder.read(name))
    except OSError as error:
        raise RunDirectoryError(f"{folder / name} cannot be read: {reason(error)}") from error
    except ValidationError as error:
        raise RunDirectoryError(f"{folder / name} is malformed: {error.errors()[0]['msg']}") from error


__all__ = ["Evaluation", "PageRecord", "Retrained"]
