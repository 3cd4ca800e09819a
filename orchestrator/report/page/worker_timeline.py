"""What each slot of a run did when: the times that trials were on a worker, put into as few lanes as they need.

A fold over the events, like `RunState`, which does not keep these times. Knows nothing of what is drawn.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from orchestrator.record import Event, RunEnded, RunResumed, TrialEnded, TrialPaused, TrialSetBack, TrialStarted

Ending = Literal["ended", "paused", "set_back", "cut_off", "open"]
"""`cut_off`: the run ended or died first. `open`: the record knows of no end."""


@dataclass(frozen=True)
class Stay:
    """A trial's time on a worker, by the driver's clock (UTC)."""

    trial_id: str
    begin: datetime
    end: datetime
    ending: Ending


@dataclass(frozen=True)
class Break:
    """The time between an end of the run, or its death, and a resume."""

    begin: datetime
    end: datetime


class Occupancy:
    """A listener of a run's events. `breaks` are in their order."""

    def __init__(self) -> None:
        self.breaks: list[Break] = []
        self._begun: dict[str, datetime] = {}
        self._stays: list[Stay] = []
        self._last: datetime | None = None

    def apply(self, event: Event) -> None:
        match event:
            case TrialStarted():
                self._end(event.trial_id, event.time, "cut_off")
                self._begun[event.trial_id] = event.time
            case TrialPaused():
                self._end(event.trial_id, event.time, "paused")
            case TrialSetBack():
                self._end(event.trial_id, event.time, "set_back")
            case TrialEnded():
                self._end(event.trial_id, event.time, "ended")
            case RunResumed():  # what was under way when the driver died ended then
                self.breaks.append(Break(self._last or event.time, event.time))
                self._end_all(self.breaks[-1].begin)
            case RunEnded():
                self._end_all(event.time)
        self._last = max(event.time, self._last or event.time)

    def stays(self, until: datetime | None = None) -> list[Stay]:
        """All of them, in the order in which they began.

        Args:
            until: when those that have no end were last known to last; None: the last event.
        """
        end = until or self._last
        still = [Stay(trial_id, begin, end, "open") for trial_id, begin in self._begun.items() if end is not None]
        return sorted([*self._stays, *still], key=lambda stay: stay.begin)

    def _end(self, trial_id: str, time: datetime, ending: Ending) -> None:
        begin = self._begun.pop(trial_id, None)
        if begin is not None:
            self._stays.append(Stay(trial_id, begin, max(begin, time), ending))

    def _end_all(self, time: datetime) -> None:
        for trial_id in list(self._begun):
            self._end(trial_id, time, "cut_off")


def lanes(stays: Iterable[Stay]) -> list[int]:
    """For each stay, in their order of beginning, a lane (0, 1, ...) in which no other is at that time.

    The lane that has been empty for longest is taken, and a new one only where none is: as many as trials ran at once.
    """
    free: list[tuple[datetime, int]] = []
    found = []
    for stay in stays:
        lane = heapq.heappop(free)[1] if free and free[0][0] <= stay.begin else len(free)
        heapq.heappush(free, (stay.end, lane))
        found.append(lane)
    return found


def joined(stays: Sequence[Stay], in_lanes: Sequence[int], gap_seconds: float) -> list[tuple[Stay, int, int]]:
    """Stays in a lane that follow each other within `gap_seconds`, as one; each with its lane and of how many it is."""
    found: list[tuple[Stay, int, int]] = []
    last: dict[int, int] = {}
    for stay, lane in zip(stays, in_lanes, strict=True):
        place = last.get(lane)
        if place is not None and (stay.begin - found[place][0].end).total_seconds() <= gap_seconds:
            before, _, count = found[place]
            found[place] = (Stay(before.trial_id, before.begin, stay.end, stay.ending), lane, count + 1)
        else:
            last[lane] = len(found)
            found.append((stay, lane, 1))
    return found
