"""The base of both ASHA variants: rungs in brackets, and how a replay rebuilds them.

Knows the epochs and values of trials. Does not know whether a trial that is not among the best is stopped or paused.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestrator.objectives import Direction
from orchestrator.schedulers.brackets import Brackets, Rungs
from orchestrator.schedulers.ceiling import Ceiling
from orchestrator.schedulers.objective_values import ObjectiveValues
from orchestrator.schedulers.rungs import Rung
from orchestrator.schedulers.waiting_line import WaitingLine


class SuccessiveHalving(TrialScheduler, ABC):
    """A scheduler that compares trials at rungs.

    Implements `HasMilestones`, `Replayable` and `AnswersDuplicates` of `orchestrator.schedulers.protocol`. Epochs are
    those that a trial itself counts, and only a report at exactly a rung's epoch counts there.

    Args:
        max_epochs: the whole budget of a trial, at which it ends by itself.
        min_epochs: epoch of the first rung, at least 1.
        reduction_factor: eta, at least 2.
        brackets: number of brackets, None for as many as fit; see `Brackets`.
        rungs: maximum number of rungs, of which the first ones count; None for all below `max_epochs`.
        objectives: the direction of each objective; None for the one metric that Ray Tune passes.

    Raises:
        ValueError: a setting is out of its bounds.
    """

    several_objectives = True

    def __init__(
        self,
        *,
        max_epochs: int,
        min_epochs: int = 1,
        reduction_factor: int = 3,
        brackets: int | None = 1,
        objectives: Mapping[str, Direction] | None = None,
        rungs: int | None = None,
    ) -> None:
        super().__init__()
        self._objectives = ObjectiveValues(objectives)
        self._brackets = Brackets(
            max_epochs=max_epochs,
            min_epochs=min_epochs,
            reduction_factor=reduction_factor,
            brackets=brackets,
            objectives=len(self._objectives),
            rungs=rungs,
        )
        self.milestones = self._brackets.milestones
        self._ceiling = Ceiling((), max_epochs)  # no limit
        self._max_epochs = max_epochs
        self._has_whole_training = False  # whether a trial was trained for its whole budget, and did not diverge
        self._names: dict[str, str] = {}
        self._line = WaitingLine()

    @property
    def rung_sizes(self) -> list[dict[int, int]]:
        """The number of trials that reached each rung, by epoch, one dictionary per bracket."""
        return self._brackets.sizes()

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Set Ray Tune's metric as the objective if no objectives were given; Ray Tune calls this."""
        return self._objectives.set_metric(metric, mode)

    def identify(self, tune_id: str, trial_id: str) -> None:
        """Store that Ray Tune's trial `tune_id` is the record's trial `trial_id`."""
        self._names[tune_id] = trial_id

    def replay(self, trial_id: str, curve: Sequence[Mapping[str, Any]]) -> None:
        """Enter a past trial in its rungs. The trial passed a rung if its curve has a row of a later epoch.

        If its last row is that of a rung and it goes on, `on_trial_add` of the variant decides about this rung.
        """
        rungs = self._brackets.admit(trial_id)
        for row in curve:
            self._enter_in_ceiling(trial_id, row)
            rung = self._enter(rungs, trial_id, row)
            if rung is not None and row["epoch"] < curve[-1]["epoch"]:
                rung.mark_passed(trial_id)

    def would_continue(self, epoch: int, row: Mapping[str, Any]) -> bool:
        """Return whether a trial with this result would pass its rung in the first bracket, which has all rungs."""
        rung = self._brackets.first.get(epoch)
        if rung is None:
            return True
        return epoch < self._ceiling.epoch and rung.would_continue(self._objectives.read(row))

    def debug_string(self) -> str:
        """Return the number of trials that reached each rung, as text."""
        brackets = [", ".join(f"epoch {epoch}: {size}" for epoch, size in sizes.items()) for sizes in self.rung_sizes]
        return f"{type(self).__name__}: {'; '.join(brackets)}"

    def _name_of(self, trial: Trial) -> str:
        return self._names.get(trial.trial_id, trial.trial_id)

    def _rungs_of(self, trial: Trial) -> Rungs:
        return self._brackets.admit(self._name_of(trial))

    def _decide_without_rung(self, trial: Trial, result: Mapping[str, Any]) -> str:
        """Decide at an epoch that is not a rung of the trial's bracket.

        Continue the trial, but stop it at another bracket's rung if it has diverged: its own bracket may have none.
        """
        if result["epoch"] not in self.milestones or self._objectives.read(result) is not None:
            return TrialScheduler.CONTINUE
        self._enter(self._rungs_of(trial), self._name_of(trial), result)
        return TrialScheduler.STOP

    def _enter_last_result(self, trial: Trial, result: Mapping[str, Any]) -> None:
        """Enter a trial's last result, for which Ray Tune does not call `on_trial_result`."""
        if "epoch" in result:
            self._enter_in_ceiling(self._name_of(trial), result)
            self._enter(self._rungs_of(trial), self._name_of(trial), result)

    def _enter_in_ceiling(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Enter the scores of a result, which may hold several epochs, in the ceiling."""
        for row in (*result.get("curve", ()), result):
            values = self._objectives.read({**row.get("metrics", {}), **row})  # a curve has the trainable's own there
            if values is not None:
                self._ceiling.enter(trial_id, row["epoch"], values[0])

    def _enter(self, rungs: Rungs, trial_id: str, row: Mapping[str, Any]) -> Rung | None:
        """Enter a row in the rung of its epoch, and return this rung; None if there is none.

        A trial that diverged never reaches its next rung. It is entered there as the worst: otherwise only the others
        would be compared, and fewer than 1 in `reduction_factor` of all trials would pass.
        """
        epoch, values = row["epoch"], self._objectives.read(row)
        if values is not None and epoch >= self._max_epochs:
            self._has_whole_training = True
        if values is None:
            epoch = min((rung for rung in rungs if rung >= epoch), default=epoch)
        rung = rungs.get(epoch)
        if rung is not None:
            rung.enter(trial_id, values)
        return rung
