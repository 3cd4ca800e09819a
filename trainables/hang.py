"""Ends the process of a training that hangs: nothing gentler can interrupt a loop in C or CUDA."""

from __future__ import annotations

import faulthandler
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from trainables.settings import FaultSettings

FIRST_EPOCH_SECONDS = 3600.0
"""Lower bound of the limit while no epoch of the search has ended."""


def hang_limit(settings: FaultSettings, longest: float | None) -> float:
    """Seconds after which an epoch counts as hanging.

    Args:
        settings: the `[faults]` section.
        longest: seconds of the longest known epoch; None if no epoch has ended yet.
    """
    if longest is None:
        return max(settings.hang_seconds, FIRST_EPOCH_SECONDS)
    return max(settings.hang_seconds, settings.hang_factor * longest)


@contextmanager
def end_process_after(seconds: float) -> Iterator[None]:
    """End the process if the block takes longer, and write the stacks of all threads to standard error.

    Blocks must not be nested.
    """
    seconds = min(seconds, threading.TIMEOUT_MAX)  # about 300 years; it refuses more
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
