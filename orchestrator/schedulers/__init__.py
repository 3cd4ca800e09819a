"""Who stops weak candidates: Ray Tune schedulers, by the names that a search file may use.

Any Ray Tune `TrialScheduler` will do. What cellscout asks beyond that, all of it optional, is in
`orchestrator.schedulers.protocol`: the epochs at which it decides, a replay of past trials, an answer on duplicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ray.tune.schedulers import TrialScheduler

from orchestrator.objectives import Direction
from orchestrator.schedulers.asha import AshaScheduler
from orchestrator.schedulers.asha_promotion import AshaPromotionScheduler
from orchestrator.schedulers.fifo import FifoScheduler
from orchestrator.schedulers.hyperband import HyperbandScheduler
from orchestrator.schedulers.median import MedianScheduler

Objectives = Mapping[str, Direction] | None


def _asha(
    max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3, objectives: Objectives = None, brackets: int = 1
) -> TrialScheduler:
    """Asynchronous successive halving (Li et al. 2020): at each rung only the best go on, the others are stopped."""
    return AshaScheduler(
        max_epochs=max_epochs,
        min_epochs=min_epochs,
        reduction_factor=reduction_factor,
        brackets=brackets,
        objectives=objectives,
    )


def _asha_promotion(
    max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3, objectives: Objectives = None, brackets: int = 1
) -> TrialScheduler:
    """Asynchronous successive halving as published: trials wait at each rung, and the best of it are promoted."""
    return AshaPromotionScheduler(
        max_epochs=max_epochs,
        min_epochs=min_epochs,
        reduction_factor=reduction_factor,
        brackets=brackets,
        objectives=objectives,
    )


def _hyperband(
    max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3, objectives: Objectives = None
) -> TrialScheduler:
    """Hyperband (Li et al. 2018), Ray Tune's: whole brackets of trials wait for each other. For 3 workers and more."""
    return HyperbandScheduler(
        max_epochs=max_epochs, min_epochs=min_epochs, reduction_factor=reduction_factor, objectives=objectives
    )


def _median(
    max_epochs: int,
    min_epochs: int = 1,
    reduction_factor: int = 3,
    objectives: Objectives = None,
    min_samples: int = 3,
) -> TrialScheduler:
    """Median stopping rule (Golovin et al. 2017), Ray Tune's: whoever is below the others' median mean is stopped."""
    return MedianScheduler(max_epochs=max_epochs, min_epochs=min_epochs, objectives=objectives, min_samples=min_samples)


def _fifo(
    max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3, objectives: Objectives = None
) -> TrialScheduler:
    """No early stopping: every trial gets its whole budget."""
    return FifoScheduler()


SCHEDULERS: dict[str, Callable[..., TrialScheduler]] = {
    "asha": _asha,
    "asha_promotion": _asha_promotion,
    "hyperband": _hyperband,
    "median": _median,
    "fifo": _fifo,
}
"""Every scheduler that a search file may name, besides `module:NAME`.

Called with `max_epochs`, the whole budget; `min_epochs`, below which nobody is stopped; `reduction_factor`;
`objectives`, name -> "maximize" or "minimize", None for the one metric that Ray Tune names; and with the search file's
options, of which an unknown one raises TypeError. Settings out of their bounds raise ValueError.
"""

SEVERAL_OBJECTIVES = frozenset({"asha", "asha_promotion", "fifo"})
"""Those that rank trials by all objectives, or by none. The others know one."""
