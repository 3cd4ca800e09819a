"""No early stopping: every trial gets its whole budget. The yardstick for every other scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestrator.schedulers.waiting_line import WaitingLine


@final
class FifoScheduler(TrialScheduler):
    """Trials begin in the order of their suggestion. Knows nothing of results, so that there is nothing to rebuild."""

    several_objectives = True
    milestones: tuple[int, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._line = WaitingLine()

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Called by Ray Tune with the metric, which does not matter."""
        return True

    def identify(self, tune_id: str, trial_id: str) -> None:
        """It does not matter which trial it is."""

    def replay(self, trial_id: str, curve: Sequence[Mapping[str, Any]]) -> None:
        """Past trials do not matter."""

    def would_continue(self, epoch: int, row: Mapping[str, Any]) -> bool:
        """Always."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """The trial waits for its turn."""
        self._line.join(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Go on."""
        return TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Nothing to do."""

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Nothing to do."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Nothing to do."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The trial that waits longest."""
        return self._line.head(tune_controller)

    def debug_string(self) -> str:
        """Its name."""
        return "FIFO"
