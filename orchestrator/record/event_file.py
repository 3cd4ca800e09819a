"""The event log in a local folder: one file that only grows, `events.jsonl`, locked by the process that writes it."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from orchestrator.errors import RunDirectoryError
from orchestrator.record.log_owner import LogOwner
from trainables.storage import Folder, reason

EVENTS = "events.jsonl"
SYNC_SECONDS = 1.0
"""The file is forced to the disk at most this often, but at the start and the end of a run."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a filesystem without locks answers, as some of a cluster's do; there, the owner is asked for instead."""


class EventFile:
    """Appends lines. Raises OSError where the disk does.

    The lock is the kernel's and ends with the process, however it dies. What is written survives the death of the
    process at once, and a power loss once it is forced to the disk: when asked to, or at a write when a second has
    passed since the last time.
    """

    def __init__(self, folder: Folder, *, fresh: bool) -> None:
        self._folder = folder
        self._path = _path(folder)
        self.location = str(folder / EVENTS)
        try:
            # Unbuffered.
            self._file = self._path.open("xb" if fresh else "a+b", buffering=0)
        except FileExistsError as error:
            raise RunDirectoryError(f"{self.location} exists already; choose another --run-dir") from error
        except OSError as error:
            raise RunDirectoryError(f"{self.location} cannot be written: {reason(error)} (run.storage)") from error
        try:
            self._is_locked = _lock(self._file, folder)
            self._owner = LogOwner.claim(folder)
            if not fresh:
                _drop_torn_line(self._file)
            _sync_folder(self._path.parent)
        except OSError as error:
            self._file.close()
            raise RunDirectoryError(f"{self.location} cannot be written: {reason(error)} (run.storage)") from error
        except RunDirectoryError:
            self._file.close()
            raise
        self._synced_at = time.monotonic()

    def write(self, lines: bytes, *, at_once: bool) -> None:
        """Append whole lines; with `at_once`, they are on the disk afterwards."""
        written = 0
        while written < len(lines):
            written += self._file.write(lines[written:])
        if at_once or time.monotonic() - self._synced_at >= SYNC_SECONDS:
            if not self._is_locked:
                self._owner.check(self._folder)
            os.fsync(self._file.fileno())
            self._synced_at = time.monotonic()

    def close(self) -> None:
        try:
            os.fsync(self._file.fileno())
            self._owner.release(self._folder)
        finally:
            self._file.close()


def is_held(folder: Folder) -> bool | None:
    """Whether a living process writes the log; None where there is no log, or no lock to tell by."""
    try:
        with _path(folder).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def read_file(folder: Folder) -> Iterator[tuple[str, int, bytes]]:
    """The whole lines of the file, each with the file's name and its number. A torn last line is dropped."""
    location = str(folder / EVENTS)
    path = folder.local_path
    with BytesIO(folder.read(EVENTS)) if path is None else (path / EVENTS).open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield location, number, line


def _path(folder: Folder) -> Path:
    path = folder.local_path
    assert path is not None, "the caller has asked"
    return path / EVENTS


def _lock(file: BinaryIO, folder: Folder) -> bool:
    """Lock the log for this process; False where the filesystem knows no locks."""
    for _ in range(10):  # a reader that asks whether it is held, holds it for an instant
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        except OSError as error:
            if error.errno in NO_LOCKS:
                return False
            raise
        else:
            return True
    owner = LogOwner.of(folder)
    who = "" if owner is None else f" ({owner})"
    raise RunDirectoryError(f"{folder / EVENTS} is being written by another process{who}; wait for it, or end it")


def _drop_torn_line(file: BinaryIO) -> None:
    """Cut off what a crash left of a line, or the next one would be glued to it."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 2**16)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    file.truncate(end)


def _sync_folder(path: Path) -> None:
    """Force the names in a folder to the disk: a file whose name is lost is lost."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
