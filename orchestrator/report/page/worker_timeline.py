"""Collects the times that trials were on a worker, and assigns them to as few lanes as possible.

Folds the events like `RunState`, which does not keep these times. Does not know how they are drawn.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from orchestrator.record import Event, RunEnded, RunResumed, TrialEnded, TrialPaused, TrialSetBack, TrialStarted

Ending = Literal["ended", "paused", "set_back", "cut_off", "open"]
"""`cut_off`: the run ended or died first. `open`: the record has no end."""


@dataclass(frozen=True)
class Stay:
    """A trial's time on a worker, by the driver's clock (UTC)."""

    trial_id: str
    begin: datetime
    end: datetime
    ending: Ending


@dataclass(frozen=True)
class Break:
    """The time between the end or death of the run and a resume."""

    begin: datetime
    end: datetime


class WorkerTimeline:
    """Collects stays and breaks from the events of a run, in their order."""

    def __init__(self) -> None:
        self.breaks: list[Break] = []
        self._begun: dict[str, datetime] = {}
        self._stays: list[Stay] = []
        self._last: datetime | None = None

    def apply(self, event: Event) -> None:
        """Add the next event."""
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
            case RunResumed():  # a trial that ran when the driver died ended then
                self.breaks.append(Break(self._last or event.time, event.time))
                self._end_all(self.breaks[-1].begin)
            case RunEnded():
                self._end_all(event.time)
        self._last = max(event.time, self._last or event.time)

    def stays(self, until: datetime | None = None) -> list[Stay]:
        """Return all stays, in the order in which they began.

        Args:
            until: the end of stays that are still open; None: the time of the last event.
        """
        end = until or self._last
        open_stays = [Stay(trial_id, begin, end, "open") for trial_id, begin in self._begun.items() if end is not None]
        return sorted([*self._stays, *open_stays], key=lambda stay: stay.begin)

    def _end(self, trial_id: str, time: datetime, ending: Ending) -> None:
        begin = self._begun.pop(trial_id, None)
        if begin is not None:
            self._stays.append(Stay(trial_id, begin, max(begin, time), ending))

    def _end_all(self, time: datetime) -> None:
        for trial_id in list(self._begun):
            self._end(trial_id, time, "cut_off")


def assign_lanes(stays: Iterable[Stay]) -> list[int]:
    """Assign each stay a lane (0, 1, ...) that is free at its time; the stays must be in the order of their begin.

    A stay gets the lane that has been free for longest, or a new one if none is free. So there are as many lanes as
    trials that ran at the same time.
    """
    free: list[tuple[datetime, int]] = []
    found = []
    for stay in stays:
        lane = heapq.heappop(free)[1] if free and free[0][0] <= stay.begin else len(free)
        heapq.heappush(free, (stay.end, lane))
        found.append(lane)
    return found


def join_stays(stays: Sequence[Stay], in_lanes: Sequence[int], gap_seconds: float) -> list[tuple[Stay, int, int]]:
    """Join stays of a lane that are at most `gap_seconds` apart; return each with its lane and its number of stays."""
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
