"""moto's S3 server on loopback in a separate process, for tests of object stores."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",  # else the client asks it for credentials, and it does not answer
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""Keeps tests from using real credentials. Start Ray's workers with it."""


class ObjectStore:
    """The server. Tests of an outage call `end` and `start`; its objects are lost when it ends."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def uri(self, path: str) -> str:
        """The URI of `bucket/folder` on this server."""
        return f"s3://{path}?endpoint_override={quote(self.endpoint, safe='')}&scheme=http"

    def make_bucket(self, name: str) -> None:
        self._ask("PUT", f"/{name}")

    def demand_credentials(self, *, after: int | None) -> None:
        """Deny all requests after this many, because no user is registered; None: allow everything again."""
        self._ask("POST", "/moto-api/reset-auth", str(1e9 if after is None else after).encode())

    def start(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        environment = {**os.environ, **ENVIRONMENT}
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        deadline = time.monotonic() + 60
        while True:
            try:
                self._ask("GET", "/moto-api/data.json")
                return
            except OSError:
                assert self._process.poll() is None, f"moto's server ended with status {self._process.returncode}"
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _ask(self, method: str, path: str, data: bytes | None = None) -> None:
        plain = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(self.endpoint + path, data, plain, method=method)
        with urllib.request.urlopen(request, timeout=10):
            pass


@contextmanager
def serving() -> Iterator[ObjectStore]:
    """A server with one bucket, `bucket`."""
    store = ObjectStore()
    store.start()
    try:
        store.make_bucket("bucket")
        yield store
    finally:
        store.end()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def object_store(_no_real_credentials: None) -> Iterator[ObjectStore]:
    """One server for all tests; each test uses its own folder."""
    with serving() as store:
        yield store
