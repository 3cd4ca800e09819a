"""Keeps the page of a run fresh while it runs and after it. A page that cannot be made is told in a line, and no more.

While a search runs, another process makes it: drawing takes seconds of Python, which the driver's loop would feel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self, final

from orchestrator.errors import last_line
from orchestrator.progress import Progress
from orchestrator.record import RecordedRun, RunDirectory

EVERY_SECONDS = 60.0
SHARE = 1 / 10
"""Of the time, at most, is spent on making pages; those of long searches are made less often."""


@final
class PageRefresher:
    """Has the page made now and then, for as long as the context lasts.

    Args:
        directory: of the run.
        progress: is told the first time that it cannot be made.
        every_seconds: after so long it is made again, at the earliest.
    """

    def __init__(self, directory: RunDirectory, progress: Progress, every_seconds: float = EVERY_SECONDS) -> None:
        self._directory = directory
        self._progress = progress
        self._every_seconds = every_seconds
        self._closed = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._starting:
            self._closed.set()
            if self._process is not None:
                self._process.kill()
        self._thread.join()

    def _run(self) -> None:
        wait, told = self._every_seconds, False
        while not self._closed.wait(wait):
            begun = time.monotonic()
            problem = self._make()
            if problem is not None and not told and not self._closed.is_set():
                _tell(self._progress, problem)
                told = True
            wait = max(self._every_seconds, (time.monotonic() - begun) / SHARE)

    def _make(self) -> str | None:
        """Why it could not be made; None if it was."""
        with self._starting:
            if self._closed.is_set():
                return None
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "orchestrator.report.page", self._directory.location],
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,  # Ctrl-C is for the search, which ends this one
                )
            except OSError as error:
                return last_line(error)
        _, said = self._process.communicate()
        if self._process.returncode == 0:
            return None
        return said.strip().rpartition("\n")[2] or f"exit status {self._process.returncode}"


def refresh(run: RecordedRun, progress: Progress) -> None:
    """Write the page of a search now, if it can be made."""
    try:
        from orchestrator.report.page.writing import write_page  # takes half a second: it imports plotly

        write_page(run)
    except Exception as error:  # noqa: BLE001  whatever it is, the search itself is whole
        _tell(progress, last_line(error))


def _tell(progress: Progress, problem: str) -> None:
    progress.line(f"the page could not be made: {problem}")
