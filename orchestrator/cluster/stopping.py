"""When a search ends before its trials do: its hours are over, or the user asks."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any, final

from ray import tune

from orchestrator.record import RunOutcome


@final
class SearchStopper(tune.Stopper):
    """Ends the search when its hours are over or the user asks; the trials that run then stay unfinished."""

    def __init__(self, hours: float | None) -> None:
        self._hours = hours
        self._deadline: float | None = None
        self.interrupted = False
        self.failure: Exception | None = None

    def fail(self, error: Exception) -> None:
        """End the search, because it cannot be recorded any more."""
        self.failure = self.failure or error

    def start_clock(self, seconds_spent: float = 0.0) -> None:
        """From now on the hours count, of which some are spent where the search is resumed. Neither Ray's start nor the
        reading of the data is part of them."""
        if self._hours is not None:
            self._deadline = time.monotonic() + self._hours * 3600 - seconds_spent

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Single trials are the scheduler's business."""
        return False

    def stop_all(self) -> bool:
        """Whether the search is to end now."""
        return self.outcome is not None

    def check(self) -> None:
        """Between two steps of the preparation: end at once if the user asked.

        Raises:
            KeyboardInterrupt: the user asked.
        """
        if self.interrupted:
            raise KeyboardInterrupt

    @property
    def outcome(self) -> RunOutcome | None:
        """Why the search is to end, or None."""
        if self.failure is not None:
            return "failed"
        if self.interrupted:
            return "interrupted"
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "out_of_time"
        return None


@contextlib.contextmanager
def stopping_on_interrupt(stopper: SearchStopper) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends the search in order, the second at once."""

    def handle(number: int, frame: Any) -> None:
        stopper.interrupted = True
        signal.signal(number, signal.default_int_handler)

    try:
        previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: signals are the caller's business
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
