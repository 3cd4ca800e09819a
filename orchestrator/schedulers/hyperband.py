"""Hyperband (Li et al., Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization, JMLR 18(185), 2018).

A wrapper of Ray Tune's scheduler: the trials of a bracket pause at each of its rungs until all have reached it. Ray
Tune's behaviour remains otherwise. It first fills the bracket that stops no trial, and that bracket counts as full only
while enough of its trials are unfinished. If fewer than about log(max_epochs) / log(reduction_factor) + 2 trials are
running or waiting at any time (5 with 27 epochs and a factor of 3, which takes 3 workers), all trials join that bracket
and none is ever stopped. Every event goes through all brackets.

The wrapper prevents two hangs. Ray Tune 2.60 marks a bracket as being processed when it is first halved and never
clears the mark; after a trial fails or ends by itself, the rest of the bracket stays paused forever. The wrapper clears
the mark. And after a resume, trials can remain paused with no trial left to wait for: the wrapper stops them at the end
of the search, the worst first.

A resume starts with new brackets, in which trials that had ended do not count, because a bracket is the set of its
unfinished trials. Resumed trials are compared by their values at each rung. If either matters, use ASHA with
`brackets`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import HyperBandScheduler as TuneHyperBandScheduler
from ray.tune.schedulers import TrialScheduler

from orchestrator.objectives import Direction
from orchestrator.schedulers.objective_values import only_objective
from orchestrator.schedulers.ray_internals import restoring_mark

VALUE = "value"
"""Name of the objective's value, higher is better, in the results passed to Ray Tune's scheduler."""


@final
class HyperbandScheduler(TrialScheduler):
    """Ray Tune's Hyperband, on epochs; a trial with a value that is not finite at a rung is stopped there.

    Args:
        max_epochs: the whole budget of a trial, at least 1.
        min_epochs: must not exceed the first rung, which follows from the other two settings.
        reduction_factor: eta, at least 2.
        objectives: the direction of the only objective; None for the one metric that Ray Tune passes.

    Raises:
        ValueError: a setting is out of its bounds, or there are several objectives.
    """

    several_objectives = False

    def __init__(
        self,
        *,
        max_epochs: int,
        min_epochs: int = 1,
        reduction_factor: int = 3,
        objectives: Mapping[str, Direction] | None = None,
    ) -> None:
        super().__init__()
        if max_epochs < 1:
            raise ValueError(f"max_epochs is {max_epochs}; it must be at least 1")
        if reduction_factor < 2:
            raise ValueError(f"reduction_factor is {reduction_factor}; it must be at least 2")
        self._objective = only_objective("hyperband", objectives)
        self._hyperband = TuneHyperBandScheduler(
            time_attr="epoch", metric=VALUE, mode="max", max_t=max_epochs, reduction_factor=reduction_factor
        )
        self._unfinished: set[str] = set()
        self._paused: dict[str, tuple[float, Trial]] = {}
        self._queued: dict[str, list[dict[str, Any]]] = {}  # by Ray Tune's id: results not yet passed to its scheduler
        self.milestones = _milestones(max_epochs, reduction_factor)
        if self.milestones and min_epochs > self.milestones[0]:
            raise ValueError(
                f"min_epochs is {min_epochs}; with max_epochs {max_epochs} and reduction_factor {reduction_factor} "
                f"hyperband stops trials from epoch {self.milestones[0]} on; use asha with brackets"
            )

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Set Ray Tune's metric as the objective if no objective was given; Ray Tune calls this."""
        return self._objective.set_metric(metric, mode)

    def take_up(self, tune_id: str, curve: Sequence[Mapping[str, Any]]) -> None:
        """Queue the values that the trial had at the rungs. A trial that continues joins a new bracket, which compares
        these values, not those that the trial reports from now on.
        """
        rows = [(row["epoch"], self._objective.read(row)) for row in curve if row["epoch"] in self.milestones]
        self._queued[tune_id] = [_tune_result(epoch, *values) for epoch, values in rows if values is not None]

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Add the trial to the bracket that is being filled."""
        self._unfinished.add(trial.trial_id)
        self._hyperband.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Pause at a rung until all trials of the bracket have reached it; then stop or continue."""
        values = self._objective.read(result)
        if values is None:
            return TrialScheduler.STOP if result["epoch"] in self.milestones else TrialScheduler.CONTINUE
        queue = self._queued.setdefault(trial.trial_id, [])
        queue.append(_tune_result(result["epoch"], *values))
        decision = TrialScheduler.CONTINUE
        while queue and decision == TrialScheduler.CONTINUE:
            passed = queue.pop(0)
            with self._restoring_mark(trial):
                decision = self._hyperband.on_trial_result(tune_controller, trial, passed)
        self._paused.pop(trial.trial_id, None)
        if decision == TrialScheduler.PAUSE:
            self._paused[trial.trial_id] = (passed[VALUE], trial)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Remove the trial from its bracket, which no longer waits for it."""
        self._remove_unfinished(trial)
        with self._restoring_mark(trial):
            self._hyperband.on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Remove the trial from its bracket, which no longer waits for it."""
        self._remove_unfinished(trial)
        with self._restoring_mark(trial):
            self._hyperband.on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Remove the trial from its bracket, which no longer waits for it."""
        self._remove_unfinished(trial)
        with self._restoring_mark(trial):
            self._hyperband.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return a trial of the least complete bracket. At the end of the search, stop the worst paused trial."""
        chosen = self._hyperband.choose_trial_to_run(tune_controller)
        all_paused = bool(self._unfinished) and len(self._paused) == len(self._unfinished)
        if chosen is None and all_paused and tune_controller.search_alg.is_finished():
            paused = sorted(self._paused.values(), key=lambda entry: entry[0])
            if all(trial.status == Trial.PAUSED for _, trial in paused):
                tune_controller.stop_trial(paused[0][1])  # only one per call: its stop may let the others continue
        return chosen

    def debug_string(self) -> str:
        """Return the debug string of Ray Tune's scheduler."""
        return self._hyperband.debug_string()

    @contextlib.contextmanager
    def _restoring_mark(self, trial: Trial) -> Iterator[None]:
        """Restore the bracket's mark `is_being_processed` after a call of Ray Tune's scheduler.

        Calls may be nested, so the mark is not cleared but reset to its value before the call.
        """
        with restoring_mark(self._hyperband, trial):
            yield

    def _remove_unfinished(self, trial: Trial) -> None:
        self._unfinished.discard(trial.trial_id)
        self._paused.pop(trial.trial_id, None)
        self._queued.pop(trial.trial_id, None)


def _tune_result(epoch: int, value: float) -> dict[str, Any]:
    """Return a result as Ray Tune's scheduler reads it."""
    return {"epoch": epoch, VALUE: value}


def _milestones(max_epochs: int, reduction_factor: int) -> tuple[int, ...]:
    """Return the epochs below `max_epochs` at which any bracket pauses, computed as in Ray Tune."""
    epochs = set()
    first = max_epochs
    halvings = 0
    while first >= 1:
        rung = first
        while rung < max_epochs:
            epochs.add(rung)
            rung *= reduction_factor
        halvings += 1
        first = int(max_epochs * reduction_factor**-halvings)
    return tuple(sorted(epochs))
