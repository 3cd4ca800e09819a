"""The newest list of all runs of a folder, and the pages of those that a reader has opened. Only reads the records."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, unquote

from orchestrator.errors import CellscoutError, RunDirectoryError
from orchestrator.progress import clock
from orchestrator.record import (
    EVALUATION,
    EVALUATION_RESULT,
    EVENTS,
    INFO,
    SEGMENTS,
    FollowUps,
    RecordedRun,
    RunDirectory,
    now,
    score_of,
)
from orchestrator.report.confirmation import confirmed_candidates
from orchestrator.report.page.table import Table, Value, number_value, text_value
from orchestrator.report.page.writing import render
from orchestrator.report.running import running_progress
from orchestrator.report.watch.watched_page import Attempts, Version, WatchedPage, answer_of, pause_after
from orchestrator.words import counted
from trainables.storage import Folder, reason

COLUMNS = ("run", "state", "progress", "trials", "best", "trial", "time", "space", "sampler", "scheduler", "started")


@dataclass(frozen=True)
class _Listed:
    """A run as it was read last."""

    key: object
    """Changes whenever the row may change."""
    row: list[Value]


class WatchedRuns:
    """The newest list of the runs of a folder. One thread updates it; the threads that serve browsers read it.

    Raises:
        RunDirectoryError: there is no run in the folder, or it cannot be read.
    """

    def __init__(self, folder: Folder, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._attempts = Attempts(say, "the list of runs was not updated")
        self._runs: dict[str, _Listed] = {}
        self._opened: dict[str, WatchedPage] = {}
        self._opening = threading.Lock()
        try:
            self._read()
        except OSError as error:
            raise RunDirectoryError(f"{folder} cannot be read: {reason(error)}") from error
        if not self._runs:
            raise RunDirectoryError(f"{folder} holds no run, and no folder in it does")
        self.newest = self._make(number=1)

    @property
    def words(self) -> str:
        """What it shows, as a part of a sentence."""
        return f"{counted(len(self._runs), 'run')} of {self._folder}"

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Return the content type and the body for a path; None if there is nothing at it."""
        name, slash, rest = path.removeprefix("/").partition("/")
        if not slash:
            return answer_of(self.newest, path)
        page = self._page(unquote(name))
        return None if page is None else page.answer(f"/{rest}")

    def refresh(self) -> float:
        """Read the runs that have changed, and return how many seconds to pause. Each problem is reported once."""
        started = time.monotonic()
        self._attempts.run(self._update)
        for page in list(self._opened.values()):
            page.refresh()
        return pause_after(started)

    def _update(self) -> None:
        before = {name: run.key for name, run in self._runs.items()}
        self._read()
        if before != {name: run.key for name, run in self._runs.items()}:
            self.newest = self._make(self.newest.number + 1)

    def _page(self, name: str) -> WatchedPage | None:
        """Return the page of a run, which is made when it is first asked for; None if it is not in the list."""
        if name not in self._runs:
            return None
        with self._opening:
            if name not in self._opened:
                try:
                    self._opened[name] = WatchedPage(
                        RunDirectory(self._folder / name), lambda line: self._say(f"{name}: {line}")
                    )
                except CellscoutError as error:
                    self._say(f"the page of {name} cannot be made: {error}")
                    return None
            return self._opened[name]

    def _read(self) -> None:
        """Read the runs of the folder whose records have changed.

        Raises:
            OSError: the folder cannot be read.
        """
        found = {}
        for name in self._folder.names():
            folder = self._folder / name
            if not folder.has(INFO):
                continue
            try:
                run = RecordedRun.read(RunDirectory(folder))
                evaluated = (folder / EVALUATION).stamp(EVALUATION_RESULT)
                key = (run.info, run.standing, folder.stamp(EVENTS), (folder / SEGMENTS).names()[-1:], evaluated)
                known = self._runs.get(name)
                if run.info.evaluation is None:
                    found[name] = known if known is not None and known.key == key else _Listed(key, _row(name, run))
            except CellscoutError as error:
                found[name] = _Listed(str(error), _unreadable(name, str(error)))
        self._runs = found

    def _make(self, number: int) -> Version:
        rows = sorted((run.row for run in self._runs.values()), key=lambda row: str(row[-1].sort), reverse=True)
        page = render(
            "runs.html.jinja",
            location=self._folder.location,
            read_at=f"{now():%Y-%m-%d %H:%M:%S} UTC",
            runs=Table(COLUMNS, rows),
        )
        return Version(number, "list", page.encode())


def _row(name: str, run: RecordedRun) -> list[Value]:
    """Return the row of a run.

    Raises:
        RunDirectoryError: its log is corrupt, or cannot be read.
    """
    state, info = run.state(), run.info
    progress, winner = running_progress(info, run.standing, state, now()), FollowUps.read(run.directory).winner(state)
    metric, _ = score_of(state.objectives)
    score = None if winner is None else winner.metric(metric)
    if winner is not None and winner.trial_id in (confirmed := confirmed_candidates(state)):
        found = confirmed[winner.trial_id].scores.get(metric)
        score = score if found is None else found.mean
    return [
        Value(name, name, link=f"{quote(name)}/"),
        text_value(run.standing.replace("_", " ")),
        text_value("-" if progress is None else progress.words),
        Value(f"{state.trained:,}", state.trained),
        number_value(score),
        text_value("-" if winner is None else winner.trial_id),
        Value(clock(state.active_seconds()), state.active_seconds()),
        *(text_value(info.component(part)) for part in ("space", "sampler", "scheduler")),
        text_value(f"{info.started_at:%Y-%m-%d %H:%M:%S}"),
    ]


def _unreadable(name: str, problem: str) -> list[Value]:
    return [text_value(name), text_value(problem), *(text_value("") for _ in COLUMNS[2:])]
