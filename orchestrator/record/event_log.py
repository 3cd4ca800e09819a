"""The append-only event log of a run: the truth, from which everything else can be rebuilt.

Knows lines and who hears of them. Does not know what the events mean, nor how lines are kept: see `event_file` for a
local folder, `event_segments` for an object store.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from pydantic import ValidationError

from orchestrator.errors import RunDirectoryError, SearchError
from orchestrator.record.event_file import EVENTS, EventFile, is_held, read_file
from orchestrator.record.event_segments import FIRST_SEGMENT, SEGMENTS, EventSegments, has_segments, read_segments
from orchestrator.record.events import EVENT, Event, RunEnded, RunStarted
from trainables.storage import Folder, reason

Listener = Callable[[Event], None]


class _HasFolder(Protocol):
    @property
    def folder(self) -> Folder: ...


Place = Folder | _HasFolder
"""A folder, or a `RunDirectory`."""


class Writer(Protocol):
    """Keeps lines. Raises OSError, or SearchError with a reason of its own."""

    location: str

    def write(self, lines: bytes, *, at_once: bool) -> None: ...

    def close(self) -> None: ...


class EventLog:
    """Writes events, then tells the listeners. Made by `create` or `reopen`; only one process can have a log open.

    What was appended survives: in a local folder, the death of the process at once, and a power loss but for the last
    second, for the file is forced to the disk when the run starts or ends, and otherwise at an append once a second has
    passed. On an object store, both but for the last second, in which it has not been uploaded yet; the start
    and the end of the run are there when `append` returns.
    """

    def __init__(self, writer: Writer, listeners: Sequence[Listener] = ()) -> None:
        self._writer = writer
        self._listeners = list(listeners)
        self.failure: SearchError | None = None
        """Why it can write no more; each `append` raises it from then on."""

    @classmethod
    def create(cls, place: Place, listeners: Sequence[Listener] = ()) -> Self:
        """The log of a new run.

        Raises:
            RunDirectoryError: there is one already, or it cannot be written.
        """
        folder = _folder(place)
        return cls(EventFile(folder, fresh=True) if folder.is_local else EventSegments(folder, fresh=True), listeners)

    @classmethod
    def reopen(cls, place: Place, listeners: Sequence[Listener] = ()) -> Self:
        """The log of a run that goes on. Listeners hear only what is appended; a torn last line is taken away.

        Raises:
            RunDirectoryError: another process writes it, or it cannot be written.
        """
        return cls(reopened(_folder(place)), listeners)

    def append(self, *events: Event) -> None:
        """Write the events, in one piece, and tell the listeners.

        Raises:
            SearchError: they cannot be written, for example because the disk is full.
        """
        if self.failure is not None:  # half a line may be there, to which nothing must be added
            raise self.failure
        lines = b"".join(event.model_dump_json().encode() + b"\n" for event in events)
        with self._telling_why():
            self._writer.write(lines, at_once=any(isinstance(event, RunStarted | RunEnded) for event in events))
        for event in events:
            for listener in self._listeners:
                listener(event)

    def listen(self, listener: Listener) -> None:
        """Tell this one of every event too, after those before it."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Write what is still to be written, and let other processes have the log.

        Raises:
            SearchError: it could not be written, and no `append` has said so.
        """
        if self.failure is not None:
            with contextlib.suppress(OSError, SearchError):  # it was told
                self._writer.close()
            return
        with self._telling_why():
            self._writer.close()

    @contextlib.contextmanager
    def _telling_why(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = SearchError(f"{self._writer.location} cannot be written: {reason(error)} (run.storage)")
            raise self.failure from error
        except SearchError as error:
            self.failure = error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.nullcontext() if kind is None else contextlib.suppress(SearchError):
            self.close()


def read_events(place: Place, *, skip: int = 0) -> Iterator[Event]:
    """The events of a log, in order, while it is written too. A torn last line, as a crash leaves it, is dropped.

    `skip` is how many are known already.

    Raises:
        RunDirectoryError: the log cannot be read, or a line before the last is no event.
    """
    folder = _folder(place)
    try:
        for location, number, line in itertools.islice(read_lines(folder), skip, None):
            try:
                yield EVENT.validate_json(line)
            except ValidationError as error:
                reason_ = error.errors()[0]["msg"]
                raise RunDirectoryError(f"{location}, line {number} is no event: {reason_}") from error
    except OSError as error:
        raise RunDirectoryError(f"{folder / EVENTS} cannot be read: {reason(error)}") from error


def is_being_written(place: Place) -> bool | None:
    """Whether a living process has the log open; None where that cannot be told: on an object store, for example."""
    folder = _folder(place)
    return is_held(folder) if folder.is_local else None


def reopened(folder: Folder) -> Writer:
    """What appends to the lines of a folder; they are first brought into the form that the folder's storage needs.

    Raises:
        RunDirectoryError: another process writes them, or they cannot be written.
    """
    try:
        (_to_file if folder.is_local else _to_segments)(folder)
    except OSError as error:
        raise RunDirectoryError(f"{folder} cannot be written: {reason(error)} (run.storage)") from error
    return EventFile(folder, fresh=False) if folder.is_local else EventSegments(folder, fresh=False)


def _folder(place: Place) -> Folder:
    return place if isinstance(place, Folder) else place.folder


def read_lines(folder: Folder) -> Iterator[tuple[str, int, bytes]]:
    """Place, number and text of each, of the form that is there.

    Of both, where a change from one to the other was interrupted, segments are whole.
    """
    return read_segments(folder) if has_segments(folder) else read_file(folder)


def _to_file(folder: Folder) -> None:
    """Make one file of the segments of a run that was copied from an object store, so that it can be appended to."""
    path = folder.local_path
    if path is not None and has_segments(folder):
        folder.write(EVENTS, b"".join(line for _, _, line in read_segments(folder)), durable=True)
        old = (path / SEGMENTS).rename(path / f"{SEGMENTS}.old")
        shutil.rmtree(old)


def _to_segments(folder: Folder) -> None:
    """The other way round, for a run that was copied to an object store."""
    if folder.has(EVENTS):
        if not has_segments(folder):
            (folder / SEGMENTS).write(FIRST_SEGMENT, b"".join(line for _, _, line in read_file(folder)))
        folder.remove(EVENTS)
