"""Who stops weak candidates: Ray Tune schedulers, by the names that a search file may use.

A scheduler may have an attribute `milestones`, the epochs at which it decides; short epochs between two of them are
then reported together. Without it, every epoch is reported by itself.
"""

from __future__ import annotations

from collections.abc import Callable

from ray.tune.schedulers import TrialScheduler

from orchestrator.schedulers.asha import AshaScheduler
from orchestrator.schedulers.fifo import FifoScheduler


def _asha(max_epochs: int, min_epochs: int, reduction_factor: int) -> TrialScheduler:
    """Asynchronous successive halving (Li et al. 2020): at each rung only the best go on."""
    return AshaScheduler(max_epochs=max_epochs, min_epochs=min_epochs, reduction_factor=reduction_factor)


def _fifo(max_epochs: int, min_epochs: int, reduction_factor: int) -> TrialScheduler:
    """No early stopping: every trial gets its whole budget."""
    return FifoScheduler()


SCHEDULERS: dict[str, Callable[[int, int, int], TrialScheduler]] = {"asha": _asha, "fifo": _fifo}
"""Every scheduler that a search file may name, besides `module:NAME`; called with the whole budget in epochs, the first
rung and the reduction factor."""
