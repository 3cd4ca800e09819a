"""What to do about a training that stands still: end its process, for nothing else gets hold of a loop in C or CUDA."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from trainables.settings import FaultSettings

FIRST_EPOCH_SECONDS = 3600.0
"""What an epoch may take while the search has not seen one end."""


def hang_limit(settings: FaultSettings, longest: float | None) -> float:
    """Seconds after which an epoch counts as hanging, if `longest` is how long the longest one known took."""
    if longest is None:
        return max(settings.hang_seconds, FIRST_EPOCH_SECONDS)
    return max(settings.hang_seconds, settings.hang_factor * longest)


@contextmanager
def process_ends_after(seconds: float) -> Iterator[None]:
    """End the process, with all its threads' stacks on standard error, if this takes longer. Not to be nested."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
