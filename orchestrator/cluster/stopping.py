"""Ends a search before all its trials have ended: when its hours are over, or when the user asks."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, final

from ray import tune

from orchestrator.record import RunOutcome

WATCH_SECONDS = 0.2
"""Between two looks at whether the user asked to stop."""


@final
class SearchStopper(tune.Stopper):
    """Ends the search when its hours are over or the user asks. Trials that are running then stay unfinished."""

    def __init__(self, hours: float | None) -> None:
        self._hours = hours
        self._began: float | None = None
        self._fraction: Callable[[], float] = lambda: 1.0
        self.interrupted = False
        self.failure: Exception | None = None

    def __reduce__(self) -> tuple[type[SearchStopper], tuple[float | None]]:
        """Pickle the hours only: Ray Tune puts its stopper into a snapshot, which is not used."""
        return SearchStopper, (self._hours,)

    def fail(self, error: Exception) -> None:
        """End the search, because it can no longer be recorded. The first error counts."""
        self.failure = self.failure or error

    def start_clock(self, seconds_spent: float = 0.0, fraction: Callable[[], float] = lambda: 1.0) -> None:
        """Start to count the hours; Ray's start and the reading of the data do not count.

        Args:
            seconds_spent: the time that the search has already used.
            fraction: returns which part of the hours may be used now (0..1); the rest is for what follows.
        """
        self._began, self._fraction = time.monotonic() - seconds_spent, fraction

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single trial; the scheduler does that."""
        return False

    def stop_all(self) -> bool:
        """Whether the search must end now."""
        return self.outcome is not None

    def check(self) -> None:
        """Raise if the user asked to stop. For use between two steps of the preparation.

        Raises:
            KeyboardInterrupt: the user asked to stop.
        """
        if self.interrupted:
            raise KeyboardInterrupt

    @property
    def outcome(self) -> RunOutcome | None:
        """Why the search must end; None if it need not."""
        if self.failure is not None:
            return "failed"
        if self.interrupted:
            return "interrupted"
        if self._hours is not None and self._began is not None:
            spent = time.monotonic() - self._began
            return "out_of_time" if spent >= self._hours * 3600 * self._fraction() else None
        return None


@contextlib.contextmanager
def stopping_on_interrupt(stopper: SearchStopper) -> Iterator[None]:
    """Stop the search in order on the first Ctrl-C (or SIGTERM), and at once on the second."""

    def handle(number: int, frame: Any) -> None:
        stopper.interrupted = True
        signal.signal(number, signal.default_int_handler)

    with _handling(handle):
        yield


@contextlib.contextmanager
def saying_on_interrupt(stopper: SearchStopper, say: Callable[[], None]) -> Iterator[None]:
    """Call `say` once as soon as the user asks to stop, because Ray and the workers then take seconds to end.

    From a thread, because a handler of signals must not print, and because Ray starts and ends in the main thread.
    """
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(WATCH_SECONDS):
            if stopper.interrupted:
                say()
                return

    thread = threading.Thread(target=watch, name="interrupts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextlib.contextmanager
def raising_on_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C or SIGTERM, where there is nothing to end in order."""
    with _handling(signal.default_int_handler):
        yield


@contextlib.contextmanager
def _handling(handler: Callable[[int, Any], None]) -> Iterator[None]:
    try:
        previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, so the caller handles signals
        yield
        return
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
