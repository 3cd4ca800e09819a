"""Turns Ray Tune's callbacks into events, and saves the best network.

Does not know how trials are chosen.
"""

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
    FollowUps,
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
from orchestrator.search.best_network import UNCONFIRMED, put_in_best
from orchestrator.search.faults import MAX_FAILURES_IN_A_ROW, Fault, decide, fault_of
from trainables import TrialPlan
from trainables.assignment import Assignment
from trainables.hang import hang_limit


@final
class Recorder(tune.Callback):
    """Records what happens to each trial, under the name given to `identify`.

    In its methods, `trial` and `trials` are Ray Tune's; `recorded` and `trial_id` are of the record.

    Args:
        log, state: the record and its state; `state` must be a listener of `log`.
        plan: what all trials have in common.
        directory: the run directory, for the best network.
        on_failure: called with an exception that must end the search, because Ray Tune may catch it and continue.
        gpus_per_trial: the share of a GPU that each trial has.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        state: RunState,
        plan: TrialPlan,
        directory: RunDirectory,
        on_failure: Callable[[Exception], None],
        gpus_per_trial: float = 0.0,
    ) -> None:
        self._on_failure = on_failure
        self._log = log
        self._state = state
        self._plan = plan
        self._directory = directory
        self._gpus_per_trial = gpus_per_trial
        self._trial_ids: dict[str, str] = {}
        self._continued: set[str] = set()
        """Ray Tune's ids of trials that it received again, after a resume or the loss of a worker."""
        self._last_report_at: dict[str, float] = {}
        """Of the trials that are on a worker."""
        self._failures_in_a_row = 0
        self._tune_trials: list[SearchTrial] = []

    def identify(self, tune_id: str, trial_id: str) -> None:
        """Note Ray Tune's id of a trial of the record. The searcher calls it."""
        self._trial_ids[tune_id] = trial_id
        recorded = self._state.find(trial_id)
        if recorded.was_started and not recorded.paused:
            self._continued.add(tune_id)

    def record_pauses(self) -> None:
        """Record the pauses of trials that the scheduler paused as soon as Ray Tune had them (`on_trial_add`).

        The process was killed after the epoch of a rung and before the pause. Ray Tune reports no such pause. The
        searcher calls this before each proposal, so that the sampler knows as much as without the kill.
        """
        for trial in reversed(self._tune_trials):  # the newest first, as it is nearly always that one
            if not self._continued:
                return
            if trial.trial_id in self._continued:
                self._continued.remove(trial.trial_id)
                trial_id = self._trial_ids.get(trial.trial_id)
                if trial_id and trial.status == TuneTrial.PAUSED and not self._state.find(trial_id).paused:
                    self._log.append(TrialPaused(trial_id=trial_id))

    def on_step_begin(self, iteration: int, trials: list[SearchTrial], **info: Any) -> None:
        """Keep a reference to Ray Tune's list of all trials."""
        self._tune_trials = trials

    def is_idle(self) -> bool:
        """Whether Ray Tune trains nothing and will start nothing: every trial that has not ended is paused."""
        return all(trial.status not in (TuneTrial.PENDING, TuneTrial.RUNNING) for trial in self._tune_trials)

    def on_trial_start(self, iteration: int, trials: list[SearchTrial], trial: SearchTrial, **info: Any) -> None:
        """Record that a worker is ready for the trial, for the first time or after a pause."""
        self._start(self._state.find(self._trial_ids[trial.trial_id]))

    def on_trial_save(self, iteration: int, trials: list[SearchTrial], trial: SearchTrial, **info: Any) -> None:
        """Record a pause: Ray Tune saves a checkpoint only if the scheduler pauses the trial."""
        trial_id = self._trial_ids[trial.trial_id]
        self._last_report_at.pop(trial_id, None)  # a pause is no silence of a worker
        self._log.append(TrialPaused(trial_id=trial_id))

    def on_trial_result(
        self, iteration: int, trials: list[SearchTrial], trial: SearchTrial, result: dict[str, Any], **info: Any
    ) -> None:
        """Record the epochs of a result, which is what `EpochTrainable.step` returned on the worker.

        The scheduler has decided by now: if it stops the trial, `done` is set. If the trial ends with these epochs, its
        end is written in the same append.
        """
        trial_id = self._trial_ids[trial.trial_id]
        recorded = self._state.find(trial_id)
        self._last_report_at[trial_id] = time.monotonic()
        events: list[Event] = []
        built = TrialBuilt(trial_id=trial_id, node=result["hostname"], **result["facts"])
        if (built.node, built.device) != (recorded.node, recorded.device):
            events.append(built)
        # A trial that continued from an older checkpoint trains epochs again that are already on record.
        rows = [row for row in result["curve"] if row["epoch"] > recorded.epochs]
        events += [_epoch_done(trial_id, row) for row in rows]
        if rows:
            self._failures_in_a_row = 0
        if result.get("done"):  # said by the worker, or by Ray Tune if the scheduler stops the trial
            events.append(self._end_of(trial_id, result))
        self._log.append(*events)
        self._save_best(trial_id)

    def on_trial_complete(self, iteration: int, trials: list[SearchTrial], trial: SearchTrial, **info: Any) -> None:
        """Record the end of a trial without an error: by itself, or stopped by the scheduler."""
        trial_id = self._trial_ids.pop(trial.trial_id)
        with self._reporting_failures():
            if self._state.find(trial_id).status == "running":  # stopped while paused or waiting for a worker
                self._log.append(TrialEnded(trial_id=trial_id, status="pruned"))
        trial.last_result.pop("curve", None)  # Ray Tune keeps the last result of every trial to the end

    def on_trial_error(self, iteration: int, trials: list[SearchTrial], trial: SearchTrial, **info: Any) -> None:
        """Record an exception in the worker, or the worker's death."""
        trial_id = self._trial_ids.pop(trial.trial_id, None)
        if trial_id is None:  # it had ended, but recording its end failed, and Ray Tune blames the trial
            return
        with self._reporting_failures():
            self._record_fault(self._state.find(trial_id), self._fault(trial, trial_id))

    def save_missing_best(self) -> None:
        """Save the best network if it is missing: the search may have died before it was written.

        The winner of an evaluation stays in its place until the search has trained another candidate.
        """
        best = self._state.best
        if self._plan.checkpoints is None or best is None:
            return
        if FollowUps.read(self._directory).winner(self._state) is best:
            self._save_best(best.trial_id)

    def _start(self, recorded: Trial) -> None:
        attempt = recorded.attempt if recorded.paused else recorded.attempt + 1
        self._last_report_at[recorded.trial_id] = time.monotonic()
        self._log.append(TrialStarted(trial_id=recorded.trial_id, attempt=attempt))

    def _fault(self, trial: SearchTrial, trial_id: str) -> Fault:
        assignment, _ = Assignment.from_config(trial.config)
        epochs = [row.seconds for row in self._state.find(trial_id).curve]
        longest = max([*epochs, *filter(None, [assignment.expected_seconds])], default=None)
        silent = time.monotonic() - self._last_report_at.get(trial_id, math.inf)
        assert trial.failure is not None, "Ray Tune keeps the exception of a failed trial"
        return fault_of(trial.failure, silent, hang_limit(self._plan.faults, longest))

    def _record_fault(self, recorded: Trial, fault: Fault) -> None:
        """Set the trial back or end it as failed; raise `SearchError` if the search cannot continue."""
        if fault.kind == "storage":
            raise SearchError(f"{self._directory}: {fault.reason} (run.storage)")
        if not recorded.was_started:
            self._start(recorded)
        self._last_report_at.pop(recorded.trial_id, None)  # nor is the wait for the next worker
        event = decide(recorded, fault, gpus_per_trial=self._gpus_per_trial, batch_size=self._plan.training.batch_size)
        self._log.append(event)
        if isinstance(event, TrialEnded):
            self._failures_in_a_row += 1
            limit = max(MAX_FAILURES_IN_A_ROW, self._state.slots)
            if self._failures_in_a_row >= limit:
                raise SearchError(f"the last {limit} trials all failed, without an epoch in between; {event.error}")

    def _end_of(self, trial_id: str, result: Mapping[str, Any]) -> TrialEnded:
        status: TrialStatus = "pruned"
        error = None
        if result["diverged"]:
            status, error = "diverged", f"a loss or metric is not finite in epoch {result['epoch']}"
        elif result["epoch"] >= self._plan.training.epochs:
            status = "completed"
        return TrialEnded(trial_id=trial_id, status=status, error=error)

    @contextlib.contextmanager
    def _reporting_failures(self) -> Iterator[None]:
        """Pass an exception to `on_failure`, and raise it again."""
        try:
            yield
        except Exception as error:
            self._on_failure(error)
            raise

    def _save_best(self, trial_id: str) -> None:
        """Write the network of the trial if it is the best and not yet written."""
        best = self._state.best
        if self._plan.checkpoints is None or best is None or best.trial_id != trial_id:
            return
        if self._directory.best_trial_id() == trial_id:
            return
        with self._reporting_failures():
            put_in_best(best, UNCONFIRMED, directory=self._directory, plan=self._plan)


def _epoch_done(trial_id: str, row: Mapping[str, Any]) -> EpochDone:
    """The event of an `EpochResult` that a worker reported."""
    metrics = {name: finite(value) for name, value in row["metrics"].items()}
    # The clock of a worker may be ahead; an end in the future would count against the hours of the budget.
    ended_at = min(datetime.fromtimestamp(row["ended_at"], UTC), now())
    return EpochDone(time=ended_at, trial_id=trial_id, metrics=metrics, **epoch_values(row))
