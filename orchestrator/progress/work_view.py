"""The progress of work that consists of steps, some of which are counted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import final

from orchestrator.progress.snapshot import Row, Snapshot
from orchestrator.progress.words import clock, format_estimate

MIN_SECONDS = 5.0
"""Seconds of counting before a time left is estimated."""


@final
class WorkView:
    """The current step of some work, and a count within it.

    Args:
        title: what is done.
        unit: what is counted, in one word.
    """

    def __init__(self, title: str, unit: str) -> None:
        self._title = title
        self._unit = unit
        self._begun = self._counting_since = time.monotonic()
        self._doing = "preparing"
        self._count: tuple[int, int] | None = None
        self._parts: Sequence[str] = ()

    def say(self, doing: str) -> None:
        """Begin a step."""
        self._doing, self._parts = doing, ()

    def count(self, done: int, of: int, parts: Sequence[str] = ()) -> None:
        """Report how many are `done`, with results in `parts`; the count disappears when all are done."""
        if done == 0 or self._count is None:
            self._counting_since = time.monotonic()
        self._count = (done, of) if done < of else None
        self._parts = parts

    def snapshot(self) -> Snapshot:
        """Return the current step, its count and the time."""
        time_row = [*self._left(), f"{clock(time.monotonic() - self._begun)} elapsed"]
        rows, counted = [Row("now", [self._doing])], ""
        if self._count is not None:
            done, of = self._count
            counted = f"; {self._unit} {done} of {of}"
            rows.append(Row(self._unit, [f"{done} of {of}"], done=done / of))
        if self._parts:
            rows.append(Row("", self._parts))
            counted += f"; {', '.join(self._parts)}"
        return Snapshot(
            title=f"cellscout · {self._title}",
            rows=[*rows, Row("time", time_row)],
            line=f"{self._doing}{counted}; {', '.join(time_row)}",
            key=(self._doing, self._count),
        )

    def _left(self) -> list[str]:
        if self._count is None or self._count[0] == 0:
            return []
        done, of = self._count
        seconds = time.monotonic() - self._counting_since
        return [f"about {format_estimate(seconds / done * (of - done))} left"] if seconds >= MIN_SECONDS else []
