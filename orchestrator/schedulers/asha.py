"""ASHA, stopping kind: asynchronous successive halving without pausing (Li et al., A System for Massively Parallel
Hyperparameter Tuning, MLSys 2020, https://arxiv.org/abs/1810.05934): a trial that is not among the best of its rung is
stopped.

Differs from Ray Tune's own where that is wrong: rungs are integers, only a report at exactly a rung's epoch counts
there, and epochs are those that the trial itself counts.
"""

from __future__ import annotations

import bisect
from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler


def rung_epochs(min_epochs: int, reduction_factor: int, max_epochs: int) -> tuple[int, ...]:
    """Epochs at which trials are compared: `min_epochs` times the powers of the factor, below `max_epochs`."""
    rungs = []
    epoch = min_epochs
    while epoch < max_epochs:
        rungs.append(epoch)
        epoch *= reduction_factor
    return tuple(rungs)


class Rung:
    """Scores of the trials that reached one epoch, the higher the better."""

    def __init__(self, reduction_factor: int) -> None:
        self._reduction_factor = reduction_factor
        self._scores: list[float] = []  # ascending

    def __len__(self) -> int:
        return len(self._scores)

    def record(self, score: float) -> bool:
        """Enter a trial's score; True if it is among the best 1 in `reduction_factor` so far, or tied with the last."""
        bisect.insort(self._scores, score)
        promoted = max(1, len(self._scores) // self._reduction_factor)
        return score >= self._scores[-promoted]


@final
class AshaScheduler(TrialScheduler):
    """Stops a trial at the first rung where it is not among the best 1 in `reduction_factor`.

    Args:
        max_epochs: the whole budget of a trial, where it ends by itself.
        min_epochs: the first rung.
        reduction_factor: eta, at least 2.
    """

    def __init__(self, *, max_epochs: int, min_epochs: int = 1, reduction_factor: int = 3) -> None:
        super().__init__()
        self.milestones = rung_epochs(min_epochs, reduction_factor, max_epochs)
        self.rungs = {epoch: Rung(reduction_factor) for epoch in self.milestones}
        self._sign = 1.0
        self._metric = ""

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Called by Ray Tune with the metric to maximise or minimise."""
        if metric is None:
            return False
        self._metric = metric
        self._sign = -1.0 if mode == "min" else 1.0
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A trial needs no entry before its first rung."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Decide at a rung; let the trial run between two."""
        rung = self.rungs.get(result["epoch"])
        if rung is None or rung.record(self._sign * result[self._metric]):
            return TrialScheduler.CONTINUE
        return TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A trial that ended keeps its places on the rungs."""

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """As `on_trial_complete`: its scores were real."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """As `on_trial_complete`."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """None: Ray Tune starts pending trials in order by itself, without a walk over all trials at every event."""
        return None

    def debug_string(self) -> str:
        """How many trials reached each rung."""
        return "ASHA: " + ", ".join(f"epoch {epoch}: {len(rung)}" for epoch, rung in self.rungs.items())
