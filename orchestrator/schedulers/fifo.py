"""First in, first out, without early stopping: the baseline for every other scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestrator.schedulers.waiting_line import WaitingLine


@final
class FifoScheduler(TrialScheduler):
    """Starts trials in the order of their suggestion, and trains each for its whole budget.

    It ignores results, so a resume has nothing to rebuild.
    """

    several_objectives = True
    milestones: tuple[int, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._line = WaitingLine()

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept any metric; Ray Tune calls this."""
        return True

    def identify(self, tune_id: str, trial_id: str) -> None:
        """Do nothing: the decisions do not depend on the trial."""

    def replay(self, trial_id: str, curve: Sequence[Mapping[str, Any]]) -> None:
        """Do nothing: the decisions do not depend on past trials."""

    def would_continue(self, epoch: int, row: Mapping[str, Any]) -> bool:
        """Return True."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Add the trial to the waiting line."""
        self._line.join(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Continue."""
        return TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Do nothing."""

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Do nothing."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Do nothing."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return the trial that has waited longest."""
        return self._line.head(tune_controller)

    def debug_string(self) -> str:
        """Return the scheduler's name."""
        return "FIFO"
