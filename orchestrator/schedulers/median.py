"""The median stopping rule (Golovin et al., Google Vizier: A Service for Black-Box Optimization, KDD 2017).

A wrapper of Ray Tune's rule: a trial is stopped if its best value so far is worse than the median of the other trials'
means up to its epoch. Each decision goes through all epochs of all trials, which takes milliseconds from about 1,000
trials on; a decision of ASHA costs almost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import MedianStoppingRule, TrialScheduler

from orchestrator.objectives import Direction
from orchestrator.schedulers.objective_values import only_objective
from orchestrator.schedulers.waiting_line import WaitingLine

VALUE = "value"
"""Name of the objective's value, higher is better, in the results passed to Ray Tune's rule."""


@final
class _RuleTrial:
    """Stands for a trial in Ray Tune's rule, which uses trials only as keys; so past trials need no Ray Tune trial."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id
        self.epoch = 0
        """The last epoch passed to the rule."""


@final
class MedianScheduler(TrialScheduler):
    """Ray Tune's median stopping rule, on epochs.

    Differs from Ray Tune's rule: trials never pause to let others start, each epoch of a trial counts once, a value
    that is not finite is worse than any median, and the scheduler can be rebuilt from a record.

    Args:
        max_epochs: the whole budget of a trial.
        min_epochs: 1 to `max_epochs`; no trial is stopped before this epoch, and only values of other trials from this
            epoch on count.
        objectives: the direction of the only objective; None for the one metric that Ray Tune passes.
        min_samples: number of other trials that must have reached the epoch, at least 1.

    Raises:
        ValueError: a setting is out of its bounds, or there are several objectives.
    """

    several_objectives = False

    def __init__(
        self,
        *,
        max_epochs: int,
        min_epochs: int = 1,
        objectives: Mapping[str, Direction] | None = None,
        min_samples: int = 3,
    ) -> None:
        super().__init__()
        if not 1 <= min_epochs <= max_epochs:
            raise ValueError(f"min_epochs is {min_epochs}; it must be between 1 and max_epochs, {max_epochs}")
        if min_samples < 1:
            raise ValueError(f"min_samples is {min_samples}; it must be at least 1")
        self._objective = only_objective("median", objectives)
        self._min_epochs = min_epochs
        self._rule = MedianStoppingRule(
            time_attr="epoch",
            metric=VALUE,
            mode="max",
            grace_period=min_epochs,
            min_samples_required=min_samples,
            min_time_slice=math.inf,  # with less, every trial is paused at every epoch while others wait
        )
        self._line = WaitingLine()
        self._names: dict[str, str] = {}
        self._rule_trials: dict[str, _RuleTrial] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Set Ray Tune's metric as the objective if no objective was given; Ray Tune calls this."""
        return self._objective.set_metric(metric, mode)

    def identify(self, tune_id: str, trial_id: str) -> None:
        """Store that Ray Tune's trial `tune_id` is the record's trial `trial_id`."""
        self._names[tune_id] = trial_id

    def replay(self, trial_id: str, curve: Sequence[Mapping[str, Any]]) -> None:
        """Pass the epochs of a past trial to the rule."""
        for row in curve:
            self._add_to_rule(trial_id, row)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Add the trial to the waiting line."""
        self._line.join(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Stop the trial if it is below the median."""
        name = self._name_of(trial)
        rule_trial = self._rule_trials.setdefault(name, _RuleTrial(name))
        epoch = result["epoch"]
        values = self._objective.read(result)
        if values is None:
            return TrialScheduler.CONTINUE if epoch < self._min_epochs else TrialScheduler.STOP
        if epoch <= rule_trial.epoch:  # a retry after an error, from an earlier checkpoint
            return TrialScheduler.CONTINUE
        rule_trial.epoch = epoch
        return self._rule.on_trial_result(None, rule_trial, {"epoch": epoch, VALUE: values[0]})

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Pass the last result to the rule, because Ray Tune does not call `on_trial_result` for it."""
        if "epoch" in result:
            self._add_to_rule(self._name_of(trial), result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Do nothing: the values of a failed trial still count."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Do nothing: the values of a removed trial still count."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return the trial that has waited longest."""
        return self._line.head(tune_controller)

    def debug_string(self) -> str:
        """Return the debug string of Ray Tune's rule."""
        return self._rule.debug_string()

    def _add_to_rule(self, name: str, row: Mapping[str, Any]) -> None:
        """Pass a new epoch of the trial to the rule without a decision."""
        rule_trial = self._rule_trials.setdefault(name, _RuleTrial(name))
        values = self._objective.read(row)
        if row["epoch"] > rule_trial.epoch and values is not None:
            rule_trial.epoch = row["epoch"]
            self._rule.on_trial_complete(None, rule_trial, {"epoch": rule_trial.epoch, VALUE: values[0]})

    def _name_of(self, trial: Trial) -> str:
        return self._names.get(trial.trial_id, trial.trial_id)
