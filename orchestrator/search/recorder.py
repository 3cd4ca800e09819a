"""Ray Tune's callbacks -> events. The only writer of a run's event log and of its best network."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, final

from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from orchestrator.cluster import SearchTrial
from orchestrator.errors import SearchError
from orchestrator.record import (
    EpochDone,
    Event,
    EventLog,
    RunDirectory,
    RunState,
    Trial,
    TrialBuilt,
    TrialEnded,
    TrialPaused,
    TrialStarted,
    TrialStatus,
    epoch_values,
    finite,
    now,
)
from orchestrator.search.faults import FAILURES_IN_A_ROW, Fault, answer, fault_of
from search_spaces import Architecture
from trainables import TrialPlan
from trainables.assignment import Assignment
from trainables.hang import hang_limit
from trainables.storage import reason


@final
class Recorder(tune.Callback):
    """Records what happens to each trial, under the id that `assign` was told.

    `state` must be a listener of `log`: the recorder reads from it what is on record, and which trial is the best.
    `on_failure` is called with an exception that ends the search, because Ray Tune may catch it and go on.
    """

    def __init__(
        self,
        log: EventLog,
        state: RunState,
        plan: TrialPlan,
        directory: RunDirectory,
        on_failure: Callable[[Exception], None],
        *,
        gpus_per_trial: float = 0.0,
    ) -> None:
        self._on_failure = on_failure
        self._log = log
        self._state = state
        self._plan = plan
        self._directory = directory
        self._gpus_per_trial = gpus_per_trial
        self._trial_ids: dict[str, str] = {}
        self._heard: dict[str, float] = {}
        self._failures_in_a_row = 0
        self._on_ray: list[SearchTrial] = []

    def assign(self, tune_id: str, trial_id: str) -> None:
        """Called by the searcher: Ray Tune knows the trial by this id."""
        self._trial_ids[tune_id] = trial_id

    def on_step_begin(self, iteration: int, trials: list[SearchTrial], **info: Any) -> None:
        """Ray Tune's loop begins anew; it keeps all trials in one list."""
        self._on_ray = trials

    def is_at_rest(self) -> bool:
        """Whether Ray Tune trains nothing, nor is about to: of all trials that have not ended the worker was taken."""
        return all(trial.status not in (TuneTrial.PENDING, TuneTrial.RUNNING) for trial in self._on_ray)

    def on_trial_start(self, iteration: int, trials: list[SearchTrial], trial: SearchTrial, **info: Any) -> None:
        """A worker is ready for the trial, for the first time or after a pause."""
        self._start(self._state.trials[self._trial_ids[trial.trial_id]])

    def on_trial_save(self, iteration: int, trials: list[SearchTrial], trial: SearchTrial, **info: Any) -> None:
        """A checkpoint was written, which Ray Tune asks for when the scheduler pauses a trial, and only then."""
        self._log.append(TrialPaused(trial_id=self._trial_ids[trial.trial_id]))

    def on_trial_result(
        self, iteration: int, trials: list[SearchTrial], trial: SearchTrial, result: dict[str, Any], **info: Any
    ) -> None:
        """Epochs were trained. If the trial is to end with them, that is written in one piece with them."""
        trial_id = self._trial_ids[trial.trial_id]
        recorded = self._state.trials[trial_id]
        self._heard[trial_id] = time.monotonic()
        events: list[Event] = []
        built = TrialBuilt(trial_id=trial_id, node=result["hostname"], **result["facts"])
        if (built.node, built.device) != (recorded.node, recorded.device):
            events.append(built)
        # A trial that went on from an older checkpoint trains again what is on record already.
        rows = [row for row in result["curve"] if row["epoch"] > recorded.epochs]
        events += [_epoch_done(trial_id, row) for row in rows]
        if rows:
            self._failures_in_a_row = 0
        if result.get("done"):
            events.append(self._end_of(trial_id, result))
        self._log.append(*events)
        self._keep_best(trial_id)

    def on_trial_complete(self, iteration: int, trials: list[SearchTrial], trial: SearchTrial, **info: Any) -> None:
        """The trial ended without an error: by itself, or stopped by the scheduler."""
        trial_id = self._trial_ids.pop(trial.trial_id)
        with self._telling_failures():
            if self._state.trials[trial_id].status == "running":  # stopped while it was paused, or waited for a worker
                self._log.append(TrialEnded(trial_id=trial_id, status="pruned"))
        trial.last_result.pop("curve", None)  # Ray Tune keeps the last result of every trial to the end

    def on_trial_error(self, iteration: int, trials: list[SearchTrial], trial: SearchTrial, **info: Any) -> None:
        """The trial ended with an exception in the worker, or the worker died."""
        trial_id = self._trial_ids.pop(trial.trial_id, None)
        if trial_id is None:  # it had ended, and recording that failed, which Ray Tune takes for the trial's failure
            return
        with self._telling_failures():
            self._take_off(self._state.trials[trial_id], self._fault(trial, trial_id))

    def check_best(self) -> None:
        """After a resume: the search may have died between a trial's end and the writing of its network."""
        if self._state.best is not None:
            self._keep_best(self._state.best.trial_id)

    def _start(self, recorded: Trial) -> None:
        attempt = recorded.attempt if recorded.paused else recorded.attempt + 1
        self._heard[recorded.trial_id] = time.monotonic()
        self._log.append(TrialStarted(trial_id=recorded.trial_id, attempt=attempt))

    def _fault(self, trial: SearchTrial, trial_id: str) -> Fault:
        assignment, _ = Assignment.from_config(trial.config)
        epochs = [row.seconds for row in self._state.trials[trial_id].curve]
        longest = max([*epochs, *filter(None, [assignment.expected_seconds])], default=None)
        silent = time.monotonic() - self._heard.get(trial_id, math.inf)
        assert trial.failure is not None, "it ended with one"
        return fault_of(trial.failure, silent, hang_limit(self._plan.faults, longest))

    def _take_off(self, recorded: Trial, fault: Fault) -> None:
        """The trial has lost its worker."""
        if fault.kind == "storage":
            raise SearchError(f"{self._directory}: {fault.reason} (run.storage)")
        if recorded.attempt == 0:  # its worker could not even begin
            self._start(recorded)
        event = answer(recorded, fault, gpus_per_trial=self._gpus_per_trial, batch_size=self._plan.training.batch_size)
        self._log.append(event)
        if isinstance(event, TrialEnded):
            self._failures_in_a_row += 1
            most = max(FAILURES_IN_A_ROW, self._state.slots)
            if self._failures_in_a_row >= most:
                raise SearchError(f"the last {most} trials all failed, without an epoch in between; {event.error}")

    def _end_of(self, trial_id: str, result: Mapping[str, Any]) -> TrialEnded:
        status: TrialStatus = "pruned"
        error = None
        if result["diverged"]:
            status, error = "diverged", f"a loss or metric is not finite in epoch {result['epoch']}"
        elif result["epoch"] >= self._plan.training.epochs:
            status = "completed"
        return TrialEnded(trial_id=trial_id, status=status, error=error)

    @contextlib.contextmanager
    def _telling_failures(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._on_failure(error)
            raise

    def _keep_best(self, trial_id: str) -> None:
        """Write the network of a trial that has become the best."""
        best = self._state.best
        if self._plan.checkpoints is None or best is None or best.trial_id != trial_id:
            return
        if self._directory.best_trial_id() == trial_id:
            return
        spec = self._plan.network_spec(Architecture.from_json(best.architecture))
        with self._telling_failures():
            try:
                self._directory.write_best(best, spec.to_json(), self._plan.checkpoints.weights(trial_id))
            except OSError as error:
                raise SearchError(f"{self._directory.best} cannot be written: {reason(error)} (run.storage)") from error


def _epoch_done(trial_id: str, row: Mapping[str, Any]) -> EpochDone:
    """The event of an `EpochResult` that a worker reported."""
    metrics = {name: finite(value) for name, value in row["metrics"].items()}
    # The clock of a worker may be ahead; an end in the future would count against the hours of the budget.
    ended_at = min(datetime.fromtimestamp(row["ended_at"], UTC), now())
    return EpochDone(time=ended_at, trial_id=trial_id, metrics=metrics, **epoch_values(row))
