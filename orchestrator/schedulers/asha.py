"""ASHA, stopping variant: a trial that is not among the best of its rung is stopped, and no trial is paused.

Source: Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020, https://arxiv.org/abs/1810.05934.
Differs from Ray Tune's implementation where that is wrong: rungs are integers, only a report at exactly a rung's epoch
counts there, epochs are those that the trial itself counts, and a trial that diverged counts as the worst of its next
rung.
"""

from __future__ import annotations

from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestrator.schedulers.successive_halving import SuccessiveHalving


@final
class AshaScheduler(SuccessiveHalving):
    """Stops a trial at the first rung where it is not among the best 1 in `reduction_factor`.

    The best group has at least one trial, and includes trials equal to its last. For the settings see
    `SuccessiveHalving`.
    """

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Assign the trial a bracket, unless it has one from before a resume or a retry.

        A trial that comes back has passed every rung that it had reached, or it would have been stopped there. It may
        reach them again from an older checkpoint, so they are marked as passed.
        """
        name = self._name_of(trial)
        for rung in self._rungs_of(trial).values():
            if name in rung:
                rung.mark_passed(name)
        self._line.join(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Stop or continue at a rung. See `_decide_without_rung` for other epochs."""
        rung = self._rungs_of(trial).get(result["epoch"])
        if rung is None:
            return self._decide_without_rung(trial, result)
        passed = rung.record(self._name_of(trial), self._objectives.read(result))
        return TrialScheduler.CONTINUE if passed else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Enter the last result; an ended trial stays in its rungs."""
        self._enter_last_result(trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Do nothing: a failed trial stays in its rungs, because its scores were real."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Do nothing: a removed trial stays in its rungs."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return the trial that has waited longest."""
        return self._line.head(tune_controller)
