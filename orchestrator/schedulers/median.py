"""The median stopping rule (Golovin et al., Google Vizier: A Service for Black-Box Optimization, KDD 2017).

As Ray Tune has it: a trial is stopped whose best value so far is worse than the median of the others' means up to its
epoch. To decide on an epoch it goes through all epochs of all trials, which takes milliseconds from a thousand trials
on; the rungs of ASHA cost next to nothing.
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


@final
class _Past:
    """What the rule tells trials apart by: a past one is as good as one that runs."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id
        self.epoch = 0
        """The last one that the rule knows."""


@final
class MedianScheduler(TrialScheduler):
    """Ray Tune's, on epochs.

    Differs from it in that trials never pause to let others begin, that an epoch of a trial counts once, that a value
    that is not finite is worse than any median, and that it can be rebuilt from a record.

    Args:
        max_epochs: the whole budget of a trial.
        min_epochs: nobody is stopped before; only values from then on count.
        objectives: the direction of the only objective; None for the one that Ray Tune names.
        min_samples: there must be so many other trials that came as far.

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
            min_time_slice=math.inf,  # else every trial is paused at every epoch, as long as others wait
        )
        self._line = WaitingLine()
        self._names: dict[str, str] = {}
        self._past: dict[str, _Past] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Called by Ray Tune with the metric, which is the objective if none was stated."""
        return self._objective.set_metric(metric, mode)

    def identify(self, tune_id: str, trial_id: str) -> None:
        """Ray Tune's trial `tune_id` is the record's `trial_id`."""
        self._names[tune_id] = trial_id

    def replay(self, trial_id: str, curve: Sequence[Mapping[str, Any]]) -> None:
        """Let the rule see the epochs of a past trial."""
        for row in curve:
            self._learn(trial_id, row)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """The trial waits for its turn."""
        self._line.join(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Compare with the median."""
        name = self._name_of(trial)
        past = self._past.setdefault(name, _Past(name))
        epoch = result["epoch"]
        values = self._objective.of(result)
        if values is None:
            return TrialScheduler.CONTINUE if epoch < self._min_epochs else TrialScheduler.STOP
        if epoch <= past.epoch:  # tried again after an error, from an earlier checkpoint
            return TrialScheduler.CONTINUE
        past.epoch = epoch
        return self._rule.on_trial_result(None, past, {"epoch": epoch, VALUE: values[0]})

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Ray Tune does not ask for a decision on a trial's last result; it counts all the same."""
        if "epoch" in result:
            self._learn(self._name_of(trial), result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """What it reported counts on."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """As `on_trial_error`."""

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The trial that waits longest."""
        return self._line.head(tune_controller)

    def debug_string(self) -> str:
        """As Ray Tune has it."""
        return self._rule.debug_string()

    def _learn(self, name: str, row: Mapping[str, Any]) -> None:
        """Let the rule see an epoch that it knows nothing of, without a decision."""
        past = self._past.setdefault(name, _Past(name))
        values = self._objective.of(row)
        if row["epoch"] > past.epoch and values is not None:
            past.epoch = row["epoch"]
            self._rule.on_trial_complete(None, past, {"epoch": past.epoch, VALUE: values[0]})

    def _name_of(self, trial: Trial) -> str:
        return self._names.get(trial.trial_id, trial.trial_id)
