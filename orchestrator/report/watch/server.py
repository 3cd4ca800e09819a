"""`cellscout watch`: serves the page of a run, or of all runs of a folder, on this machine, and updates it.

Only reads the records, so it can run beside a search. Serves no files: of each page two resources, the page and the
number of its newest version, which the page polls so that it can reload itself.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from orchestrator.errors import InputError
from orchestrator.record import INFO, RunDirectory
from orchestrator.report.watch.watched_page import WatchedPage
from orchestrator.report.watch.watched_runs import WatchedRuns
from trainables.storage import reason

ADDRESS = "127.0.0.1"
PORT = 8400
HOSTS = ("127.0.0.1", "localhost")
"""Accepted host names. Others are refused, so that another site cannot read the page (DNS rebinding). Any port is
accepted, because ssh may forward another one."""

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


class PageServer(ThreadingHTTPServer):
    """Serves browsers on this machine only.

    Raises:
        InputError: the port cannot be used.
    """

    daemon_threads = True

    def __init__(self, watched: WatchedPage | WatchedRuns, port: int) -> None:
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
    """Serves what is watched; any other path is not found."""

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
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in HOSTS:
            return HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"use 127.0.0.1 or localhost\n"
        found = self.server.watched.answer(self.path)
        if found is None:
            return HTTPStatus.NOT_FOUND, "text/plain", b"the page is at /\n"
        return HTTPStatus.OK, *found


@contextlib.contextmanager
def watching(location: str, port: int, say: Callable[[str], None]) -> Iterator[PageServer]:
    """Serve the page of a run, or of all runs of a folder, while the context is open.

    Args:
        location: a run directory, or a folder with run directories.
        port: a port of 127.0.0.1; 0 for any free one.
        say: receives one line when a run ends, and one when a page cannot be updated.

    Raises:
        RunDirectoryError: there is no run, or its record cannot be read.
        InputError: the port cannot be used.
    """
    directory = RunDirectory.at(location)
    watched = WatchedPage(directory, say) if directory.folder.has(INFO) else WatchedRuns(directory.folder, say)
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


def watch_runs(location: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the page of a run, or of all runs of a folder, until Ctrl-C; see `watching` for arguments and errors."""
    with watching(location, port, say) as server:
        say(f"{server.url} shows {server.watched.words}; Ctrl-C stops serving it")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


def _refresh_until(ended: threading.Event, watched: WatchedPage | WatchedRuns) -> None:
    pause = 0.0
    while not ended.wait(pause):
        pause = watched.refresh()
