"""Reads what a page shows: the record of a run, its evaluation and its retrained networks. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.record import (
    ENDED,
    EVALUATION,
    INFO,
    NETWORK,
    RANDOM,
    FollowUps,
    RecordedRun,
    RunDirectory,
    RunInfo,
    RunState,
    now,
)
from orchestrator.report.confirmation import is_confirming
from orchestrator.report.follow_ups import unfinished_evaluation
from orchestrator.report.page.free_places import evaluation_place, read_begun
from orchestrator.report.page.next_steps import FullSize, full_size
from orchestrator.report.page.worker_timeline import Break, Stay, WorkerTimeline
from trainables.storage import Folder


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
    follow_ups: FollowUps
    """The evaluation, the retrained networks and the exported files."""
    evaluating: str | None
    """How far an evaluation is that has no result yet; None if it has one, or there is none."""
    evaluation_dir: str | None
    """Where the suggested evaluation is recorded; None in the default folder."""
    begun: Mapping[str, Mapping[str, Any]]
    """The settings of the retrainings that have begun, by the names of their folders."""
    breaks: Sequence[Break]
    """The times in which the run was stopped."""
    sample: tuple[RunState, Sequence[Break]] | None
    """The evaluation's random search of equal cost, with its breaks; None if there is none."""
    retrainable: bool
    """Whether the search has ended with a network, so that `cellscout retrain` accepts it."""
    read_at: datetime
    """When the record was read (UTC)."""

    @cached_property
    def full_size(self) -> FullSize | None:
        """The size at which a network of the search is retrained; None before there is a winner."""
        winner = self.follow_ups.winner(self.state)
        return None if winner is None else full_size(winner, self.state, self.info)

    @property
    def stage(self) -> str:
        """The standing; `confirming` if the run is in its confirmation."""
        return "confirming" if is_confirming(self.standing, self.state) else self.standing

    @classmethod
    def read(cls, run: RecordedRun) -> PageRecord:
        """Read the record of a search.

        Raises:
            RunDirectoryError: the log is corrupt, or another file of the record is malformed.
        """
        directory, timeline = run.directory, WorkerTimeline()
        state = run.state(timeline.apply)
        place = evaluation_place(directory, state)
        standing, read_at, follow_ups = run.standing, now(), FollowUps.read(directory)
        return cls(
            location=_absolute_location(directory.folder),
            info=run.info,
            standing=standing,
            state=state,
            stays=timeline.stays(read_at if standing == "running" else None),
            follow_ups=follow_ups,
            evaluating=unfinished_evaluation(directory, follow_ups),
            evaluation_dir=None if place == directory / EVALUATION else _absolute_location(place.folder),
            begun=read_begun(directory),
            breaks=timeline.breaks,
            sample=_sample(directory / EVALUATION / RANDOM),
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
