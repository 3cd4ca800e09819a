"""`cellscout watch`: serves the page of a run on this machine, and updates it while the run goes on.

Only reads the record, so it can run beside the search. Serves two resources and no files: the page, and the number of
its newest version, which the page polls so that it can reload itself.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from orchestrator.errors import InputError, last_line
from orchestrator.record import (
    EVALUATION,
    EVALUATION_RESULT,
    EVENTS,
    RANDOM,
    RETRAIN_RESULT,
    RETRAINED,
    SEGMENTS,
    RecordedRun,
    RunDirectory,
)
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.writing import make_page
from trainables.storage import reason

ADDRESS = "127.0.0.1"
PORT = 8400
HOSTS = ("127.0.0.1", "localhost")
"""Accepted host names. Others are refused, so that another site cannot read the page (DNS rebinding). Any port is
accepted, because ssh may forward another one."""

MIN_SECONDS = 5.0
"""The minimal time between two checks of the log."""
PAUSE_FACTOR = 10
"""The pause after an update, as a multiple of the time it took: updates use at most a tenth of a core."""

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"{POLICY}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

RELOADER = resources.files("orchestrator.report") / "watch.js"


@dataclass(frozen=True)
class Version:
    """One version of the page."""

    number: int
    """Counts from 1."""
    standing: str
    """`running`, `confirming`, `died`, or how the run ended."""
    page: bytes = field(repr=False)


class WatchedPage:
    """The newest page of a run. One thread updates it; the threads that serve browsers read it.

    Raises:
        RunDirectoryError: there is no run, or its record cannot be read.
    """

    def __init__(self, directory: RunDirectory, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say
        self._state: object = None
        self._problem = ""
        self.newest = self._make(number=1)

    def refresh(self) -> float:
        """Make a new page if the record has changed, and return how many seconds to pause.

        If that fails, the old page stays: a store may be unreachable for a while. Each problem is reported once.
        """
        started = time.monotonic()
        try:
            if self._record_state() != self._state:
                before, self.newest = self.newest, self._make(self.newest.number + 1)
                if before.standing != self.newest.standing:
                    self._say(f"the run {_words(self.newest.standing)}")
            self._problem = ""
        except Exception as error:  # noqa: BLE001  any error: the next attempt may succeed
            problem = reason(error) if isinstance(error, OSError) else last_line(error)
            if problem != self._problem:
                self._say(f"the page was not updated: {problem}")
            self._problem = problem
        return max(MIN_SECONDS, PAUSE_FACTOR * (time.monotonic() - started))

    def _make(self, number: int) -> Version:
        state = self._record_state()  # before the page, so that the next check sees changes made meanwhile
        record = PageRecord.read(RecordedRun.of_search(self._directory))
        page = make_page(record)
        self._state = state
        return Version(number, record.stage, page)

    def _record_state(self) -> object:
        """Return a value that changes whenever the page would change."""
        folder = self._directory.folder
        segments, retrained = folder / SEGMENTS, folder / RETRAINED
        files = [
            (folder, EVENTS),
            *((segments, name) for name in segments.names()[-1:]),  # of a log on an object store
            (folder / EVALUATION, EVALUATION_RESULT),
            (folder / EVALUATION / RANDOM, EVENTS),
            *((retrained / name, RETRAIN_RESULT) for name in retrained.names()),
        ]
        stamps = {str(place / name): place.stamp(name) for place, name in files}
        run = RecordedRun.read(self._directory)
        return run.info, run.standing, {name: stamp for name, stamp in stamps.items() if stamp}


class PageServer(ThreadingHTTPServer):
    """Serves browsers on this machine only.

    Raises:
        InputError: the port cannot be used.
    """

    daemon_threads = True

    def __init__(self, watched: WatchedPage, port: int) -> None:
        self.watched = watched
        try:
            super().__init__((ADDRESS, port), _RequestHandler)
        except OSError as error:
            raise InputError(
                f"port {port} of {ADDRESS} cannot be used: {reason(error)}; choose another, or 0 for any (--port)"
            ) from error

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore browsers that disconnect during a response."""


class _RequestHandler(BaseHTTPRequestHandler):
    """Serves the page at `/` and the newest version at `/version`; any other path is not found."""

    server: PageServer
    timeout = 30
    server_version, sys_version = "cellscout", ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log requests."""

    def _answer(self, *, with_body: bool) -> None:
        status, kind, body = self._found()
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _found(self) -> tuple[HTTPStatus, str, bytes]:
        newest = self.server.watched.newest
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in HOSTS:
            return HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"use 127.0.0.1 or localhost\n"
        match self.path:
            case "/":
                return HTTPStatus.OK, "text/html", _with_reloader(newest)
            case "/version":
                return HTTPStatus.OK, "application/json", _version(newest)
        return HTTPStatus.NOT_FOUND, "text/plain", b"the page is at /\n"


@contextlib.contextmanager
def watching(run_dir: str, port: int, say: Callable[[str], None]) -> Iterator[PageServer]:
    """Serve the page of a run while the context is open.

    Args:
        run_dir: the run directory.
        port: a port of 127.0.0.1; 0 for any free one.
        say: receives one line when the run ends, and one when the page cannot be updated.

    Raises:
        RunDirectoryError: there is no run, or its record cannot be read.
        InputError: the port cannot be used.
    """
    watched = WatchedPage(RunDirectory.at(run_dir), say)
    ended = threading.Event()
    with PageServer(watched, port) as server:
        threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True),
            threading.Thread(target=_refresh_until, args=(ended, watched), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield server
        finally:
            ended.set()
            server.shutdown()
            for thread in threads:
                thread.join()


def watch_run(run_dir: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the page of a run until Ctrl-C; see `watching` for the arguments and errors."""
    with watching(run_dir, port, say) as server:
        say(f"{server.url} shows {run_dir}, which {_words(server.watched.newest.standing)}; Ctrl-C stops serving it")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


def _refresh_until(ended: threading.Event, watched: WatchedPage) -> None:
    pause = MIN_SECONDS
    while not ended.wait(pause):
        pause = watched.refresh()


def _version(newest: Version) -> bytes:
    return json.dumps({"version": newest.number, "standing": newest.standing}).encode()


def _with_reloader(newest: Version) -> bytes:
    """Return the page with a script that polls for a newer version and reloads."""
    script = f"<script>const VERSION = {newest.number};\n{RELOADER.read_text()}</script>\n"
    head, end, tail = newest.page.rpartition(b"</body>")
    return head + script.encode() + end + tail


def _words(standing: str) -> str:
    """Return the state of a run as the end of a sentence."""
    words = {"running": "is running", "confirming": "trains its best candidates again"}
    return words.get(standing, f"has ended ({standing.replace('_', ' ')})")
