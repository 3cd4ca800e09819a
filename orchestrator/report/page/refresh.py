"""Updates the page of a run, while it runs and when it ends. A failure is reported in one line and stops nothing.

While a search runs, another process makes the page: it takes seconds of Python, which would delay the driver's loop.
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

INTERVAL_SECONDS = 60.0
MAX_TIME_SHARE = 1 / 10
"""The maximal share of the time that is spent on pages; the larger pages of long searches are made less often."""


@final
class PageRefresher:
    """Updates the page regularly while the context is open.

    Args:
        directory: the run directory.
        progress: shows the first failure.
        interval_seconds: the minimal time between two updates.
    """

    def __init__(self, directory: RunDirectory, progress: Progress, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._directory = directory
        self._progress = progress
        self._interval_seconds = interval_seconds
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
        wait, reported = self._interval_seconds, False
        while not self._closed.wait(wait):
            started = time.monotonic()
            problem = self._make()
            if problem is not None and not reported and not self._closed.is_set():
                _report_problem(self._progress, problem)
                reported = True
            wait = max(self._interval_seconds, (time.monotonic() - started) / MAX_TIME_SHARE)

    def _make(self) -> str | None:
        """Update the page; return None, or why that failed."""
        with self._starting:
            if self._closed.is_set():
                return None
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "orchestrator.report.page", self._directory.location],
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,  # Ctrl-C goes to the search only, which then ends this process
                )
            except OSError as error:
                return last_line(error)
        _, stderr = self._process.communicate()
        if self._process.returncode == 0:
            return None
        return stderr.strip().rpartition("\n")[2] or f"exit status {self._process.returncode}"


def refresh(run: RecordedRun, progress: Progress) -> None:
    """Write the page of a search now; report a failure without raising it."""
    try:
        from orchestrator.report.page.writing import write_page  # takes half a second: it imports plotly

        write_page(run)
    except Exception as error:  # noqa: BLE001  a page must not fail the search
        _report_problem(progress, last_line(error))


def _report_problem(progress: Progress, problem: str) -> None:
    progress.line(f"the page could not be updated: {problem}")
