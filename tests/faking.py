"""Stand-ins for what a test cannot have: a full disk, a clock that stands still."""

from __future__ import annotations

import os

from orchestrator.record.event_file import EventFile


def fill_up(file: EventFile) -> None:
    """As if the disk were full from here on."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file._file.fileno())
    os.close(full)


class Clock:
    """Replaces the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now
