"""The event log on an object store, which cannot append to an object: numbered segments, `events/00000001.jsonl`, ...

A thread uploads about once a second. Until the last segment is large enough, each upload replaces it by a longer one,
so that a run of days has hundreds of segments instead of a million. The store replaces an object whole or not at all.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

from orchestrator.errors import RunDirectoryError
from orchestrator.record.log_owner import LogOwner
from trainables.storage import Folder, reason

SEGMENTS = "events"
FIRST_SEGMENT = "00000001.jsonl"
SEGMENT_BYTES = 2**18
"""A segment of at least this size is not added to."""
UPLOAD_SECONDS = 1.0
OWNER_SECONDS = 3.0
"""An idle log checks this often that this process still owns it; each upload checks that too."""
READERS = 16
"""How many segments are read at a time."""

_NAME = re.compile(r"[0-9]{8}\.jsonl")


class EventSegments:
    """Takes lines and uploads them in the background. The next `write`, or `close`, raises what made an upload fail.

    A kill loses what is not uploaded yet: the last second, and what the store did not accept during an outage. Nothing
    keeps two processes from writing at the same time. The process that started later is the owner. The earlier one
    notices this at its next upload, and fails. If it is suspended exactly between its check of the owner and its
    upload, it notices one upload later.
    """

    def __init__(self, folder: Folder, *, fresh: bool) -> None:
        self._folder = folder
        self._segments = folder / SEGMENTS
        self.location = str(self._segments)
        try:
            before = LogOwner.of(folder)
            is_owned = before is not None and not before.is_gone
            if fresh and (is_owned or self._segments.names()):
                raise RunDirectoryError(f"{self.location} exists already; choose another --run-dir")
            self._owner = LogOwner.claim(folder)
            if is_owned:
                time.sleep(OWNER_SECONDS + UPLOAD_SECONDS)  # until it has noticed; then segments are counted
            names = _segment_names(folder)
        except OSError as error:
            raise RunDirectoryError(f"{folder} cannot be written: {reason(error)} (run.storage)") from error
        self._number = 1 + (int(names[-1].removesuffix(".jsonl")) if names else 0)
        self._segment = b""
        self._unsent: list[bytes] = []
        self._written = self._sent = 0
        self._must_upload = self._is_closing = False
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._upload_until_closed, name="event log", daemon=True)
        self._thread.start()

    def write(self, lines: bytes, *, at_once: bool) -> None:
        """Take whole lines; with `at_once`, they are on the store afterwards."""
        with self._changed:
            self._unsent.append(lines)
            self._written += 1
            if at_once:
                self._must_upload = True
                self._changed.notify_all()
                last = self._written
                self._changed.wait_for(lambda: self._sent >= last or self._failure is not None)
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """Upload what is left, and end."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        self._owner.release(self._folder)

    def _upload_until_closed(self) -> None:
        checked_at = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._must_upload or self._is_closing, timeout=UPLOAD_SECONDS)
                lines, last, closing = b"".join(self._unsent), self._written, self._is_closing
                self._unsent.clear()
                self._must_upload = False
            try:
                if lines:
                    self._upload(lines)
                    checked_at = time.monotonic()
                elif time.monotonic() - checked_at >= OWNER_SECONDS:
                    self._folder.patiently(lambda: self._owner.check(self._folder))
                    checked_at = time.monotonic()
            except Exception as error:  # noqa: BLE001 (`write` or `close` raises it in the driver)
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._sent = last
                self._changed.notify_all()
            if closing:
                return

    def _upload(self, lines: bytes) -> None:
        content, name = self._segment + lines, f"{self._number:08d}.jsonl"

        def put() -> None:
            self._owner.check(self._folder)
            self._segments.write(name, content)

        self._folder.patiently(put)
        self._segment = content
        if len(content) >= SEGMENT_BYTES:
            self._number, self._segment = self._number + 1, b""


def has_segments(folder: Folder) -> bool:
    return bool(_segment_names(folder))


def read_segments(folder: Folder) -> Iterator[tuple[str, int, bytes]]:
    """Yield the lines of all segments in order, each with the segment's name and the line's number in it.

    Raises:
        RunDirectoryError: a segment is missing.
    """
    segments, names = folder / SEGMENTS, _segment_names(folder)
    for number, name in enumerate(names, start=1):
        if int(name.removesuffix(".jsonl")) != number:
            raise RunDirectoryError(f"{segments / f'{number:08d}.jsonl'} is missing, and there are later ones")
    with ThreadPoolExecutor(READERS) as readers:
        for begin in range(0, len(names), READERS):
            some = names[begin : begin + READERS]
            for name, content in zip(some, readers.map(segments.read, some), strict=True):
                location = str(segments / name)
                for number, line in enumerate(BytesIO(content), start=1):
                    yield location, number, line


def _segment_names(folder: Folder) -> list[str]:
    return [name for name in (folder / SEGMENTS).names() if _NAME.fullmatch(name)]
