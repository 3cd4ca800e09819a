"""An append-only log of typed events: the truth, from which everything else is rebuilt. `EventLog` is the log of a run.

Knows lines and listeners. Does not know what the events mean, nor how lines are kept: see `event_file` for a local
folder, `event_segments` for an object store.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, final

from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import RunDirectoryError, SearchError
from orchestrator.record.event_file import EVENTS, EventFile, is_held, read_file
from orchestrator.record.event_segments import FIRST_SEGMENT, SEGMENTS, EventSegments, has_segments, read_segments
from orchestrator.record.events import EVENT, Event, EventBase, RunEnded, RunStarted
from trainables.storage import Folder, reason

E = TypeVar("E", bound=EventBase)


class _HasFolder(Protocol):
    @property
    def folder(self) -> Folder: ...


Place = Folder | _HasFolder
"""A folder, or a `RunDirectory`."""


class Writer(Protocol):
    """Stores lines. Its methods raise OSError, or SearchError with a reason of their own."""

    location: str

    def write(self, lines: bytes, *, at_once: bool) -> None:
        """Append whole lines; with `at_once`, they are on the disk or the store afterwards."""

    def close(self) -> None:
        """Write all lines that are not yet written, and release the log."""


class TypedLog(Generic[E]):
    """The base of `EventLog`: writes events, then calls the listeners with them. Use it as a context.

    Only one process can have a log open.

    Every listener receives the events in the order of the log. A listener may append events: they are written at once,
    and delivered after the events before them.

    `create` or `reopen` makes one, of a subclass that says what its events are.

    In a local folder an appended event survives the death of the process. It survives a power loss once the file has
    been forced to the disk: at each event of `SYNCED_AT_ONCE`, and otherwise at the first append that comes a second or
    more after the last time. On an object store it survives both once it is uploaded: before `append` returns for an
    event of `SYNCED_AT_ONCE`, and otherwise within about a second.
    """

    ADAPTER: ClassVar[TypeAdapter[Any]]
    """Reads one event from JSON."""
    SYNCED_AT_ONCE: ClassVar[tuple[type[EventBase], ...]]

    def __init__(self, writer: Writer, listeners: Sequence[Callable[[E], None]] = ()) -> None:
        self._writer = writer
        self._listeners = list(listeners)
        self._undelivered: deque[E] = deque()
        self._is_delivering = False
        self.failure: SearchError | None = None
        """Why the log can no longer be written; each later `append` raises it."""

    @classmethod
    def create(cls, place: Place, listeners: Sequence[Callable[[E], None]] = ()) -> Self:
        """Begin a log.

        Raises:
            RunDirectoryError: the folder has a log already, or it cannot be written.
        """
        folder = _folder(place)
        return cls(EventFile(folder, fresh=True) if folder.is_local else EventSegments(folder, fresh=True), listeners)

    @classmethod
    def reopen(cls, place: Place, listeners: Sequence[Callable[[E], None]] = ()) -> Self:
        """Lock a log, remove a torn last line, and continue it, or begin it. Listeners receive what is appended.

        On a disk the lock is the kernel's, on the file of the events (`event_file`), and ends with its process. In an
        object store `owner.json` names the process that opened the log last; the one before notices that, and stops.

        Raises:
            RunDirectoryError: another process writes the log, or it cannot be written.
        """
        return cls(_open_writer(_folder(place)), listeners)

    @classmethod
    def read(cls, place: Place, *, skip: int = 0, missing_ok: bool = False) -> Iterator[E]:
        """Yield the events of a log, in order; it may be written meanwhile. A torn last line is dropped.

        Args:
            place: the log's folder.
            skip: how many events to leave out at the beginning.
            missing_ok: a folder without a log has no events.

        Raises:
            RunDirectoryError: the log cannot be read, or a line before the last is not an event.
        """
        folder = _folder(place)
        try:
            for location, number, line in itertools.islice(_read_lines(folder), skip, None):
                try:
                    yield cls.ADAPTER.validate_json(line)
                except ValidationError as error:
                    problem = error.errors()[0]["msg"]
                    raise RunDirectoryError(f"{location}, line {number} is not an event: {problem}") from error
        except OSError as error:
            if missing_ok and isinstance(error, FileNotFoundError):
                return
            raise RunDirectoryError(f"{folder / EVENTS} cannot be read: {reason(error)}") from error

    def append(self, *events: E) -> None:
        """Write the events in one piece, then call the listeners.

        All events are delivered when it returns, unless a listener calls it: then they are delivered once every
        listener has received the events before them. If a listener raises an exception, the events that are not
        delivered yet never are.

        Raises:
            SearchError: the events cannot be written, for example because the disk is full.
        """
        if self.failure is not None:  # the file may end in half a line, to which nothing must be added
            raise self.failure
        lines = b"".join(event.model_dump_json().encode() + b"\n" for event in events)
        with self._keeping_failure():
            self._writer.write(lines, at_once=any(isinstance(event, self.SYNCED_AT_ONCE) for event in events))
        self._undelivered.extend(events)
        if not self._is_delivering:
            self._deliver()

    def _deliver(self) -> None:
        self._is_delivering = True
        try:
            while self._undelivered:
                event = self._undelivered.popleft()
                for listener in self._listeners:
                    listener(event)
        finally:
            self._undelivered.clear()  # not empty if a listener has raised an exception
            self._is_delivering = False

    def listen(self, *listeners: Callable[[E], None]) -> None:
        """Call these listeners too with every later event, after those that were added before them."""
        self._listeners.extend(listeners)

    @contextlib.contextmanager
    def listening(self, *listeners: Callable[[E], None]) -> Iterator[None]:
        """Do the same for the time of the context."""
        self._listeners.extend(listeners)
        try:
            yield
        finally:
            for listener in listeners:
                self._listeners.remove(listener)

    def close(self) -> None:
        """Write what is still to be written, and release the log to other processes.

        Raises:
            SearchError: the rest could not be written. If an `append` has raised already, `close` raises nothing.
        """
        with self._keeping_failure() if self.failure is None else contextlib.suppress(OSError, SearchError):
            self._writer.close()

    @contextlib.contextmanager
    def _keeping_failure(self) -> Iterator[None]:
        """Keep in `failure` why the writer failed, and raise it."""
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


@final
class EventLog(TypedLog[Event]):
    """The event log of a run."""

    ADAPTER = EVENT
    SYNCED_AT_ONCE = (RunStarted, RunEnded)


Listener = Callable[[Event], None]
"""What receives the events of a run."""


def read_events(place: Place, *, skip: int = 0) -> Iterator[Event]:
    """Yield the events of a run: see `TypedLog.read`.

    Raises:
        RunDirectoryError: the log cannot be read, or a line before the last is not an event.
    """
    return EventLog.read(place, skip=skip)


def is_being_written(place: Place) -> bool | None:
    """Whether a living process has the log open; None if that cannot be found out, for example on an object store."""
    folder = _folder(place)
    return is_held(folder) if folder.is_local else None


def _open_writer(folder: Folder) -> Writer:
    """Open the lines of a folder for appending, after a conversion to the form that the folder's storage needs.

    Raises:
        RunDirectoryError: another process writes the lines, or they cannot be written.
    """
    try:
        (_to_file if folder.is_local else _to_segments)(folder)
    except OSError as error:
        raise RunDirectoryError(f"{folder} cannot be written: {reason(error)} (run.storage)") from error
    return EventFile(folder, fresh=False) if folder.is_local else EventSegments(folder, fresh=False)


def _folder(place: Place) -> Folder:
    return place if isinstance(place, Folder) else place.folder


def _read_lines(folder: Folder) -> Iterator[tuple[str, int, bytes]]:
    """Yield location, number and text of each line, from the form that is there.

    If both forms are there, a conversion was interrupted. The segments are whole then.
    """
    return read_segments(folder) if has_segments(folder) else read_file(folder)


def _to_file(folder: Folder) -> None:
    """Join the segments of a run that was copied from an object store into one file, which can be appended to."""
    path = folder.local_path
    if path is not None and has_segments(folder):
        folder.write(EVENTS, b"".join(line for _, _, line in read_segments(folder)), durable=True)
        old = (path / SEGMENTS).rename(path / f"{SEGMENTS}.old")
        shutil.rmtree(old)


def _to_segments(folder: Folder) -> None:
    """Turn the file of a run that was copied to an object store into a segment."""
    if folder.has(EVENTS):
        if not has_segments(folder):
            (folder / SEGMENTS).write(FIRST_SEGMENT, b"".join(line for _, _, line in read_file(folder)))
        folder.remove(EVENTS)
