"""Schedulers: the Ray Tune schedulers that stop weak candidates, by their names in a search file.

Any Ray Tune `TrialScheduler` works. `orchestrator.schedulers.protocol` lists optional extensions: the epochs at which a
scheduler decides, a replay of past trials, and a decision on duplicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ray.tune.schedulers import TrialScheduler

from orchestrator.objectives import Direction
from orchestrator.schedulers.asha import AshaScheduler
from orchestrator.schedulers.asha_promotion import AshaPromotionScheduler
from orchestrator.schedulers.fifo import FifoScheduler
from orchestrator.schedulers.median import MedianScheduler

Objectives = Mapping[str, Direction] | None


def _asha(
    *, max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3, objectives: Objectives = None, brackets: int = 1
) -> TrialScheduler:
    """Asynchronous successive halving (Li et al. 2020): only the best trials of each rung continue."""
    return AshaScheduler(
        max_epochs=max_epochs,
        min_epochs=min_epochs,
        reduction_factor=reduction_factor,
        brackets=brackets,
        objectives=objectives,
    )


def _asha_promotion(
    *, max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3, objectives: Objectives = None, brackets: int = 1
) -> TrialScheduler:
    """Asynchronous successive halving as published: trials pause at each rung, and the best ones are promoted."""
    return AshaPromotionScheduler(
        max_epochs=max_epochs,
        min_epochs=min_epochs,
        reduction_factor=reduction_factor,
        brackets=brackets,
        objectives=objectives,
    )


def _pasha(
    *, max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3, objectives: Objectives = None
) -> TrialScheduler:
    """PASHA (Bohdal et al. 2023): ASHA whose largest rung is raised only while the ranking of its trials changes."""
    return AshaPromotionScheduler(
        max_epochs=max_epochs,
        min_epochs=min_epochs,
        reduction_factor=reduction_factor,
        objectives=objectives,
        progressive=True,
    )


def _cut(
    *, max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3, objectives: Objectives = None
) -> TrialScheduler:
    """One cut (i-Epoch, Egele et al. 2024): all trials train for min_epochs, the best 1 in reduction_factor in full."""
    return AshaPromotionScheduler(
        max_epochs=max_epochs,
        min_epochs=min_epochs,
        reduction_factor=reduction_factor,
        objectives=objectives,
        rungs=1,
    )


def _hyperband(
    *, max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3, objectives: Objectives = None
) -> TrialScheduler:
    """Asynchronous Hyperband (Li et al. 2020): asha_promotion with as many brackets as fit."""
    return AshaPromotionScheduler(
        max_epochs=max_epochs,
        min_epochs=min_epochs,
        reduction_factor=reduction_factor,
        brackets=None,
        objectives=objectives,
    )


def _median(
    *,
    max_epochs: int,
    min_epochs: int = 1,
    reduction_factor: int = 3,
    objectives: Objectives = None,
    min_samples: int = 3,
) -> TrialScheduler:
    """Ray Tune's median stopping rule (Golovin et al. 2017): stops a trial below the median of the others' means."""
    return MedianScheduler(max_epochs=max_epochs, min_epochs=min_epochs, objectives=objectives, min_samples=min_samples)


def _fifo(
    *, max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3, objectives: Objectives = None
) -> TrialScheduler:
    """No early stopping: every trial gets its whole budget."""
    return FifoScheduler()


SCHEDULERS: dict[str, Callable[..., TrialScheduler]] = {
    "asha": _asha,
    "asha_promotion": _asha_promotion,
    "pasha": _pasha,
    "cut": _cut,
    "hyperband": _hyperband,
    "median": _median,
    "fifo": _fifo,
}
"""Every scheduler that a search file may name, besides `module:NAME`.

Each is called by keyword with `max_epochs`, the whole budget; `min_epochs`, before which no trial is stopped;
`reduction_factor`; `objectives`, name -> "maximize" or "minimize", None for the one metric that Ray Tune passes; and
the search file's options. An unknown option raises TypeError, a setting out of its bounds ValueError.
"""

SEVERAL_OBJECTIVES = frozenset({"asha", "asha_promotion", "cut", "fifo", "hyperband"})
"""Schedulers that rank trials by all objectives, or by none. The others support only one objective."""
