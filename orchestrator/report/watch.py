"""`cellscout watch`: the page of a run on this machine's own address, made anew while the run goes on.

Reads the record only, and so may run beside the search. Serves two things and nothing else of the disk: the page, and
which version of it is the newest, for which the page asks so that it can load itself again.
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
from orchestrator.report.page.writing import make_page
from trainables.storage import reason

ADDRESS = "127.0.0.1"
PORT = 8400
HOSTS = ("127.0.0.1", "localhost")
"""Names by which a browser on this machine may ask. A page of a stranger whose name was made to lead here is none
(DNS rebinding); a port that was forwarded by ssh may have another number."""

LEAST_SECONDS = 5.0
"""Between two looks at the log."""
REST = 10
"""Times as long as the page took to make, it rests: so it costs at most a tenth of a core."""

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
    """A page as it was made; `number` counts from 1, `standing` is the run's."""

    number: int
    standing: str
    page: bytes = field(repr=False)


class Watched:
    """The newest page of a run. Made by one thread, read by those that answer browsers.

    Raises:
        RunDirectoryError: there is no run, or its record cannot be read.
    """

    def __init__(self, directory: RunDirectory, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say
        self._seen: object = None
        self._trouble = ""
        self.newest = self._make(number=1)

    def refresh(self) -> float:
        """Make the page anew if the record has changed. For how many seconds to rest now.

        What goes wrong is said once, and the page before it stays: a store may be away for a while.
        """
        started = time.monotonic()
        try:
            if self._facts() != self._seen:
                before, self.newest = self.newest, self._make(self.newest.number + 1)
                if before.standing != self.newest.standing:
                    self._say(f"the run {_words(self.newest.standing)}")
            self._trouble = ""
        except Exception as error:  # noqa: BLE001  whatever it is, the next look may be better
            trouble = reason(error) if isinstance(error, OSError) else last_line(error)
            if trouble != self._trouble:
                self._say(f"the page is as it was: {trouble}")
            self._trouble = trouble
        return max(LEAST_SECONDS, REST * (time.monotonic() - started))

    def _make(self, number: int) -> Version:
        facts = self._facts()  # before the page, so that what comes meanwhile is seen by the next look
        run = RecordedRun.of_search(self._directory)
        page = make_page(run)
        self._seen = facts
        return Version(number, run.standing, page)

    def _facts(self) -> object:
        """Differs when the page would."""
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
    """Answers browsers of this machine only.

    Raises:
        InputError: the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, watched: Watched, port: int) -> None:
        self.watched = watched
        try:
            super().__init__((ADDRESS, port), _Answers)
        except OSError as error:
            raise InputError(
                f"port {port} of {ADDRESS} cannot be used: {reason(error)}; choose another, or 0 for any (--port)"
            ) from error

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away in the middle of an answer is no news."""


class _Answers(BaseHTTPRequestHandler):
    """`/` is the page, `/version` what it would be now; all else is not there."""

    server: PageServer
    timeout = 30
    server_version, sys_version = "cellscout", ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not told."""

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
            return HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"ask for 127.0.0.1 or localhost\n"
        match self.path:
            case "/":
                return HTTPStatus.OK, "text/html", _reloading(newest)
            case "/version":
                return HTTPStatus.OK, "application/json", _version(newest)
        return HTTPStatus.NOT_FOUND, "text/plain", b"the page is at /\n"


@contextlib.contextmanager
def watching(run_dir: str, port: int, say: Callable[[str], None]) -> Iterator[PageServer]:
    """Serve the page for as long as the context lasts.

    Args:
        port: 0 for any that is free.
        say: told in a line when the run has ended, and when the page cannot be made anew.

    Raises:
        RunDirectoryError: there is no run, or its record cannot be read.
        InputError: the port cannot be had.
    """
    watched = Watched(RunDirectory.at(run_dir), say)
    ended = threading.Event()
    with PageServer(watched, port) as server:
        threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True),
            threading.Thread(target=_refreshing, args=(watched, ended), daemon=True),
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
    """Serve the page of a run until Ctrl-C; arguments and errors as of `watching`."""
    with watching(run_dir, port, say) as server:
        say(f"{server.url} shows {run_dir}, which {_words(server.watched.newest.standing)}; Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


def _refreshing(watched: Watched, ended: threading.Event) -> None:
    rest = LEAST_SECONDS
    while not ended.wait(rest):
        rest = watched.refresh()


def _version(newest: Version) -> bytes:
    return json.dumps({"version": newest.number, "standing": newest.standing}).encode()


def _reloading(newest: Version) -> bytes:
    """The page with a script that asks whether there is a newer one."""
    script = f"<script>const VERSION = {newest.number};\n{RELOADER.read_text()}</script>\n"
    head, end, tail = newest.page.rpartition(b"</body>")
    return head + script.encode() + end + tail


def _words(standing: str) -> str:
    """How a run stands, after its name."""
    return "still runs" if standing == "running" else f"has ended ({standing.replace('_', ' ')})"
