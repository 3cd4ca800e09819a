"""ASHA, stopping kind: asynchronous successive halving without pausing (Li et al., A System for Massively Parallel
Hyperparameter Tuning, MLSys 2020, https://arxiv.org/abs/1810.05934): a trial that is not among the best of its rung is
stopped.

Differs from Ray Tune's own where that is wrong: rungs are integers, only a report at exactly a rung's epoch counts
there, epochs are those that the trial itself counts, and a value that is not finite passes no rung.
"""

from __future__ import annotations

from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestrator.schedulers.successive_halving import SuccessiveHalving


@final
class AshaScheduler(SuccessiveHalving):
    """Stops a trial at the first rung where it is not among the best 1 in `reduction_factor`; see `SuccessiveHalving`.

    At least one is among them, and whoever is level with the last of them is too.
    """

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """The trial gets its bracket, unless it has one from before a resume or a retry. It has then passed the rungs
        that it came to, and may come to them again from an older checkpoint: stopped, it would have ended."""
        name = self._name_of(trial)
        for rung in self._rungs_of(trial).values():
            if name in rung:
                rung.let_go_on(name)
        self._line.join(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Decide at a rung; let the trial run between two."""
        rung = self._rungs_of(trial).get(result["epoch"])
        if rung is None:
            return TrialScheduler.CONTINUE
        values = self._objectives.of(result)
        goes_on = values is not None and rung.record(self._name_of(trial), values)
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A trial that ended keeps its places on the rungs."""
        self._enter_last(trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """As `on_trial_complete`: its scores were real."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """As `on_trial_complete`."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The trial that waits longest."""
        return self._line.head(tune_controller)
