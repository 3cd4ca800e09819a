"""Reads the record of a run: `run.json`, once, and the events. Writes nothing."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from orchestrator.config import MOVABLE, SearchConfig, change_config, parse_config
from orchestrator.errors import ConfigError, RunDirectoryError
from orchestrator.record.event_log import is_being_written, read_events
from orchestrator.record.events import CandidatesCompared, Event
from orchestrator.record.follow_ups import FollowUps
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_info import ENDED, RunInfo
from orchestrator.record.run_state import RunState
from orchestrator.record.tables import epoch_table, trial_table
from orchestrator.record.trial import Trial


@dataclass(frozen=True)
class RecordedRun:
    """The record of a search or of an evaluation, running or ended.

    `state`, `winner`, `confirmation`, `front`, `trials` and `epochs` read the events anew, so they follow a running
    search.
    """

    directory: RunDirectory
    info: RunInfo
    """The content of `run.json` when the record was read."""

    def __repr__(self) -> str:
        return f"<RecordedRun {self.directory}>"

    @classmethod
    def read(cls, location: str | Path | RunDirectory) -> RecordedRun:
        """Read `run.json`.

        Raises:
            RunDirectoryError: there is no run, or `run.json` cannot be read.
        """
        directory = location if isinstance(location, RunDirectory) else RunDirectory.at(location)
        return cls(directory, directory.read_info())

    @classmethod
    def of_search(cls, location: str | Path | RunDirectory) -> RecordedRun:
        """Read `run.json` of a search; `events` reads the log.

        Raises:
            RunDirectoryError: there is no run, or it is an evaluation.
        """
        run = cls.read(location)
        if run.info.evaluation is not None:
            raise RunDirectoryError(
                f"{run.directory} holds an evaluation and not a search; name the run directory of its search (to "
                "continue an evaluation, run the command that began it again)"
            )
        return run

    @classmethod
    def of_ended_search(cls, location: str | Path | RunDirectory) -> RecordedRun:
        """Read the record of a search that ran to its end.

        Raises:
            RunDirectoryError: there is no search, it is running, or it was stopped early.
        """
        run = cls.of_search(location)
        if run.standing == "running":
            raise RunDirectoryError(f"{run.directory} is still being searched; wait until it has ended")
        if run.standing not in ENDED:
            raise RunDirectoryError(
                f"{run.directory} is unfinished ({run.standing}); end it with: cellscout resume {run.directory}"
            )
        return run

    @cached_property
    def config(self) -> SearchConfig:
        """The settings of the run.

        Raises:
            ConfigError: this version does not accept them.
        """
        return parse_config(self.info.config, "the recorded configuration")

    @cached_property
    def standing(self) -> str:
        """The state of the run: `running`, `died`, or how it ended.

        If the log can be locked, its lock decides: a process id may have been reused since, but a lock ends with its
        process.
        """
        if self.info.state != "running":
            return self.info.state
        held = is_being_written(self.directory)
        if held:
            return "running"
        # Another host may hold a lock that this one cannot see.
        return "died" if held is False and self.info.is_of_this_host else self.info.standing

    def with_data_at(self, changes: Sequence[str]) -> Self:
        """The same run with its images at another place, for `changes` such as `data.root=PATH`.

        Raises:
            ConfigError: a change sets something other than where the images are, or is not valid.
        """
        config = change_config(self.info.config, changes, MOVABLE)
        return replace(self, info=self.info.model_copy(update={"config": config.model_dump(mode="json")}))

    def check_images(self, facts: Mapping[str, Any]) -> None:
        """Refuse to continue with images that differ from those of the record.

        Args:
            facts: about the images that were read now, as `DataSplits.describe` returns them.

        Raises:
            ConfigError: the images differ; the message says in what.
        """
        for name, value in json.loads(json.dumps(facts)).items():
            if name in ("mean", "deviation"):  # they follow from the images, but for the last digit on another machine
                continue
            before = self.info.data.get(name)
            if before != value:
                raise ConfigError(
                    f"the data set {self.info.config['data']['name']!r} has changed: its {name} is {value!r}, and was "
                    f"{before!r} when the search began (data.root)"
                )

    def events(self) -> list[Event]:
        """Return all events of the log.

        Raises:
            RunDirectoryError: the log is corrupt, or cannot be read.
        """
        with _gc_paused():
            return list(read_events(self.directory))

    def state(self, *listeners: Callable[[Event], None]) -> RunState:
        """Return the state that the events add up to.

        Args:
            listeners: each is called with every event, after the event was applied to the state.

        Raises:
            RunDirectoryError: the log is corrupt, or cannot be read.
        """
        state = RunState()
        with _gc_paused():
            for event in read_events(self.directory):
                for listener in (state.apply, *listeners):
                    listener(event)
        if self.standing == "died":
            state.outcome = "died"
        return state

    @property
    def winner(self) -> Trial | None:
        """The winner: that of the evaluation, else of the confirmation, else the best trial. None if none completed.

        Raises:
            RunDirectoryError: the log or a result file is corrupt, or cannot be read.
        """
        return FollowUps.read(self.directory).winner(self.state())

    @property
    def confirmation(self) -> CandidatesCompared | None:
        """What the new trainings say about the best candidates; None if the winner is unconfirmed.

        Raises:
            RunDirectoryError: the log is corrupt, or cannot be read.
        """
        return self.state().confirmed

    @property
    def front(self) -> list[Trial]:
        """The Pareto front: the confirmed one if there is one. With one objective, the best trials.

        Raises:
            RunDirectoryError: the log is corrupt, or cannot be read.
        """
        return self.state().winning_front

    def trials(self) -> pa.Table:
        """Return one row per trial, as in `trials.parquet`. `.to_pandas()` makes a data frame of it.

        Raises:
            RunDirectoryError: the log is corrupt, or cannot be read.
        """
        return trial_table(self.state(), self.info.seed)

    def epochs(self) -> pa.Table:
        """Return one row per trial and epoch, as in `epochs.parquet`. `.to_pandas()` makes a data frame of it.

        Raises:
            RunDirectoryError: the log is corrupt, or cannot be read.
        """
        return epoch_table(self.state())


def load_run(run_dir: Path | str) -> RecordedRun:
    """Load the record of a run that is running or has ended: its settings, winner, trials and epochs.

    Args:
        run_dir: a path or a URI of a run directory, or of an evaluation in one.

    Raises:
        RunDirectoryError: there is no run, or `run.json` cannot be read.
    """
    return RecordedRun.read(run_dir)


@contextlib.contextmanager
def _gc_paused() -> Iterator[None]:
    """Pause the garbage collector: reading a log creates many objects and no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
