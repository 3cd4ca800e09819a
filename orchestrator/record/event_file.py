"""The event log in a local folder: one append-only file, `events.jsonl`, locked by the process that writes it."""

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
"""The file is forced to the disk at most this often, and also after events that must be there at once."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of a file system without locks, as some clusters have; `owner.json` is checked there instead."""


class EventFile:
    """Appends lines; raises the OSErrors of the disk.

    The lock is the kernel's: it ends with the process, however that dies. A written line survives the death of the
    process at once. It survives a power loss once the file is forced to the disk: at a write with `at_once`, and at a
    write a second or more after the last time.
    """

    def __init__(self, folder: Folder, *, fresh: bool) -> None:
        self._folder = folder
        self._path = _path(folder)
        self.location = str(folder / EVENTS)
        try:
            self._file = self._path.open("a+b", buffering=0)
        except OSError as error:
            raise RunDirectoryError(f"{self.location} cannot be written: {reason(error)} (run.storage)") from error
        self._is_locked = False
        try:
            self._is_locked = _lock(self._file, folder)
            # An empty one is of a run that was killed before it had a `run.json`.
            if fresh and self._file.seek(0, os.SEEK_END):
                raise RunDirectoryError(f"{self.location} exists already; choose another --run-dir")
            self._owner = LogOwner.claim(folder)
            if not fresh:
                _drop_torn_line(self._file)
            _sync_folder(self._path.parent)
        except OSError as error:
            if fresh and self._is_locked:  # so it is this process's own
                self._path.unlink()
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
    """Whether a living process writes the log; None if there is no log, or the file system has no locks."""
    try:
        with _path(folder).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def read_file(folder: Folder) -> Iterator[tuple[str, int, bytes]]:
    """Yield each whole line of the file, with the file's name and the line's number. A torn last line is dropped."""
    location = str(folder / EVENTS)
    path = folder.local_path
    with BytesIO(folder.read(EVENTS)) if path is None else (path / EVENTS).open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield location, number, line


def _path(folder: Folder) -> Path:
    path = folder.local_path
    assert path is not None, "the caller has checked that the folder is local"
    return path / EVENTS


def _lock(file: BinaryIO, folder: Folder) -> bool:
    """Lock the log for this process; False if the file system has no locks."""
    for _ in range(10):  # `is_held` takes the lock for an instant
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
    name = "" if owner is None else f" ({owner})"
    raise RunDirectoryError(f"{folder / EVENTS} is being written by another process{name}; wait for it, or end it")


def _drop_torn_line(file: BinaryIO) -> None:
    """Cut off the part of a line that a crash left, so that the next line does not continue it."""
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
    """Force the names in a folder to the disk: a file whose name is lost cannot be found."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
