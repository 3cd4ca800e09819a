"""What the schedulers use of Ray Tune that it does not promise. See `orchestrator.cluster.ray_internals` for the rest.

Not there, because a scheduler knows nothing of the cluster.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ray.tune.experiment import Trial
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import HyperBandScheduler, TrialScheduler

from trainables.library_internals import Internal

READ_IN = "2.60.0"

_PAUSED = "after a trial fails, the rest of its hyperband bracket stays paused until the end of the search"

BRACKETS = Internal("ray", "_trial_info", READ_IN, _PAUSED)
MARK = Internal("ray", "is_being_processed", READ_IN, _PAUSED)


def counts_reports(scheduler: TrialScheduler) -> bool:
    """Whether a scheduler of Ray Tune counts reports instead of epochs, as most do by default; False for any other."""
    return getattr(scheduler, "_time_attr", None) == TRAINING_ITERATION


@contextlib.contextmanager
def restoring_mark(hyperband: HyperBandScheduler, trial: Trial) -> Iterator[None]:
    """Restore the mark `is_being_processed` of the trial's bracket after a call of Ray Tune's scheduler.

    Calls may be nested, so the mark is not cleared but reset to its value before the call.
    """
    brackets = BRACKETS.read(hyperband)
    bracket = None if brackets is None else brackets[trial][0]
    mark = None if bracket is None else MARK.read(bracket)
    yield
    if bracket is not None and mark is not None:
        bracket.is_being_processed = mark
