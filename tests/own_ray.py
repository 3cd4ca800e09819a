"""A Ray of the test's own, started as a user starts one: `ray start --head`, on free ports, in a temporary folder.

Only processes that belong to that folder are ended; other Rays of the machine are left alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

PORTS = 10
_PLACES = iter(range(20_000 + 310 * os.getpid() % 9_000, 30_000, PORTS))

START_SECONDS = 120
STARTS = 3


def free_port() -> int:
    """A port that is free, as the `PORTS - 1` after it are; never given twice by one process, and far from what others
    that run tests are given. Below those that the system gives to outgoing connections, so free a moment later, too."""
    for port in _PLACES:
        if all(_is_free(port + place) for place in range(PORTS)):
            return port
    raise AssertionError("no free port")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("", port))
        except OSError:
            return False
    return True


def ray_command() -> str:
    """Ray's command as a file, to be run by this Python, so that workers have the packages of this Python."""
    import ray

    found = shutil.which("ray", path=f"{Path(sys.executable).parent}:{Path(ray.__file__).parents[4] / 'bin'}")
    assert found is not None
    return found


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Sockets' paths must be short; pytest's folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="cs-", dir="/tmp"))
    try:
        yield folder
    finally:
        end_processes_of(folder)
        shutil.rmtree(folder, ignore_errors=True)


def end_processes_of(folder: Path) -> None:
    """End every process that was started with a path in the folder, and its children."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or []) and process.pid != os.getpid():
            with contextlib.suppress(psutil.NoSuchProcess):
                found |= {process, *process.children(recursive=True)}
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, timeout=60)


def wait_for(port: int, process: subprocess.Popen[bytes] | None = None, host: str = "127.0.0.1") -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), timeout=5).close()
            return
        assert process is None or process.poll() is None, "it ended"
        assert time.monotonic() < deadline, "it does not listen"
        time.sleep(0.1)


@dataclass(frozen=True)
class Head:
    """Where a head listens, and with which environment its clients are to run."""

    address: str
    environment: Mapping[str, str]
    folder: Path


@contextlib.contextmanager
def ray_head(*options: str, environment: Mapping[str, str] | None = None, port: int | None = None) -> Iterator[Head]:
    """A head with token authentication; ended with all that it started."""
    with short_folder() as folder:
        (folder / "token").write_text("a-token-of-this-test-only-0123456789abcdef")
        own = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        own.pop("RAY_ADDRESS", None)
        port = port or free_port()
        command = [
            sys.executable,
            ray_command(),
            "start",
            "--head",
            "--block",
            f"--port={port}",
            f"--temp-dir={folder / 'ray'}",
        ]
        # Of what has a port of its own by default, which another head here may have already.
        command += [f"--ray-client-server-port={port + 3}", "--min-worker-port=0", "--max-worker-port=0"]
        command += ["--dashboard-agent-listen-port=0", "--object-store-memory=100000000", *options]
        head = _start_head(command, {**own, "PYTHONUNBUFFERED": "1", **(environment or {})}, folder)
        try:
            yield Head(f"127.0.0.1:{port}", own, folder)
        finally:
            head.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                head.wait(60)


def _start_head(command: list[str], environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Again if it ends at once, for Ray gives a head 30 seconds to start, which on a busy machine can be too few."""
    log = folder / "head.log"
    for _ in range(STARTS):
        with log.open("wb") as output:
            head = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        while head.poll() is None:
            if b"Ray runtime started." in log.read_bytes():
                return head
            time.sleep(0.1)
        end_processes_of(folder)
    raise AssertionError(log.read_text())
