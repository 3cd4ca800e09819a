"""The append-only event log of a run: the truth, from which everything else can be rebuilt.

Knows lines and their durability. Does not know what the events mean.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from orchestrator.errors import RunDirectoryError, SearchError
from orchestrator.events import EVENT, Event, RunEnded, RunStarted, TrialEnded

Listener = Callable[[Event], None]


class EventLog:
    """Writes events, then tells the listeners. Events of one `append` reach the file in one write.

    A write survives the death of the process at once; it is forced to the disk, so that it survives a power loss too,
    when a trial or the run ends.
    """

    def __init__(self, path: Path, listeners: Sequence[Listener] = (), *, mode: str = "xb") -> None:
        self._path = path
        self._listeners = list(listeners)
        self._file = path.open(mode, buffering=0)
        self.failure: SearchError | None = None

    @classmethod
    def create(cls, directory: Any, listeners: Sequence[Listener] = ()) -> EventLog:
        return cls(directory.events, listeners)

    @classmethod
    def reopen(cls, directory: Any, listeners: Sequence[Listener] = ()) -> EventLog:
        content = directory.events.read_bytes()
        os.truncate(directory.events, content.rfind(b"\n") + 1)
        return cls(directory.events, listeners, mode="ab")

    def append(self, *events: Event) -> None:
        """Write the events and tell the listeners.

        Raises:
            SearchError: the file cannot be written, for example because the disk is full.
        """
        lines = b"".join(event.model_dump_json().encode() + b"\n" for event in events)
        try:
            written = 0
            while written < len(lines):
                written += self._file.write(lines[written:])
            if any(isinstance(event, RunStarted | TrialEnded | RunEnded) for event in events):
                os.fsync(self._file.fileno())
        except OSError as error:
            self.failure = SearchError(f"{self._path} cannot be written: {error.strerror} (run.storage)")
            raise self.failure from error
        for event in events:
            for listener in self._listeners:
                listener(event)

    def listen(self, listener: Listener) -> None:
        """Tell this one of every event too, after those before it."""
        self._listeners.append(listener)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_events(path: Path) -> Iterator[Event]:
    """The events of a log, in order. A torn last line, as a crash leaves it, is dropped.

    Raises:
        RunDirectoryError: the file cannot be read, or a line before the last is no event.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield EVENT.validate_json(line)
                except ValidationError as error:
                    reason = error.errors()[0]["msg"]
                    raise RunDirectoryError(f"{path}, line {number} is no event: {reason}") from error
    except OSError as error:
        raise RunDirectoryError(f"{path} cannot be read: {error.strerror}") from error
