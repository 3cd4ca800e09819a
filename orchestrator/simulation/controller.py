"""Runs a searcher and a scheduler against known curves on a virtual clock, in almost no time and without Ray.

The loop calls both in the same order as Ray Tune 2.60 (`ray.tune.execution.tune_controller`), so whatever runs there
runs here. One step asks for new trials, lets the scheduler choose one, assigns workers and handles one event.

Does not know what is searched. Starts, checkpoints and events take no time here. A free worker goes to the first of
several waiting trials, while Ray Tune may choose any. Trials are not retried after an error, and schedulers that
replace the configuration of a trial (PBT) are not supported.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Collection, KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, final

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from orchestrator.words import counted

IDLE_STEPS = 3
"""The search has stalled after more idle steps than this: a step depends only on the steps before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One epoch of a curve."""

    epoch: int
    """Counts from 1."""
    seconds: float
    """The duration of the epoch."""
    metrics: Mapping[str, float]
    error: str | None = None
    """If set, the trial fails at the end of this epoch and does not report it."""


Evaluate = Callable[[dict[str, Any]], Sequence[Row]]
"""Returns the whole curve of a candidate from its parameters. Called when its trial starts."""

EventKind = Literal["suggested", "started", "reported", "paused", "stopped", "ended", "failed"]
"""`started`: for the first time or after a pause. `stopped`: by the scheduler. `ended`: after its last epoch."""


@dataclass(frozen=True, slots=True)
class SimulatedEvent:
    """Something that happened to a trial."""

    seconds: float
    """The time on the virtual clock."""
    kind: EventKind
    trial_id: str
    epoch: int
    """The number of epochs that the trial had reported by then."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """The result of a simulation."""

    events: list[SimulatedEvent]
    trials: list[SimulatedTrial]
    seconds: float
    """The time on the virtual clock at the end."""
    busy_seconds: float
    """The training time, summed over all workers."""


class SimulationStalledError(RuntimeError):
    """No trial runs or ever will, so Ray Tune would wait forever."""


@final
@dataclass(eq=False, slots=True, kw_only=True)
class SimulatedTrial:
    """Replaces Ray Tune's `Trial`: the attributes that schedulers use, and the state of the simulation."""

    trial_id: str
    config: dict[str, Any]
    status: str = Trial.PENDING
    last_result: dict[str, Any] = field(default_factory=dict)
    is_saving: bool = False
    temporary_state: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(ray_actor=None))
    rows: Sequence[Row] | None = None
    """The whole curve; None before the trial starts."""
    epochs: int = 0
    """The number of rows that it has reported."""
    reports: int = 0
    trained_seconds: float = 0.0
    training_since: float = 0.0
    ticket: int = -1
    """The planned event that counts; all other planned events of the trial are void."""

    @property
    def curve(self) -> Sequence[Row]:
        """The rows that it has reported."""
        return () if self.rows is None else self.rows[: self.epochs]

    def set_status(self, status: str) -> None:
        """Set the status, as schedulers do."""
        self.status = status

    def is_finished(self) -> bool:
        """Whether the trial has ended or failed."""
        return self.status in (Trial.TERMINATED, Trial.ERROR)

    def __repr__(self) -> str:
        return f"trial {self.trial_id} ({self.status}, {counted(self.epochs, 'epoch')})"


def simulate(
    searcher: Searcher,
    scheduler: TrialScheduler,
    evaluate: Evaluate,
    *,
    workers: int,
    trials: int | None = None,
    seconds: float | None = None,
    metric: str = "val_accuracy",
    mode: Literal["max", "min"] = "max",
    param_space: Mapping[str, Any] | None = None,
    pending: int | None = None,
    milestones: Collection[int] | None = None,
    first_number: int = 0,
    callbacks: Sequence[Callback] = (),
) -> Simulation:
    """Simulate a search until all trials have ended or the time is over.

    Args:
        searcher, scheduler: any that Ray Tune accepts.
        evaluate: returns the curve of a candidate.
        workers: how many trials run at the same time.
        trials: how many trials there are; None for as many as the time allows.
        seconds: the virtual time; when it runs out, trials stop where they are and nothing is called for them.
        metric, mode: passed to the scheduler, and to the searcher if `param_space` is given.
        param_space: a search space of Ray Tune; None if the searcher has its own.
        pending: how many trials are suggested ahead, as TUNE_MAX_PENDING_TRIALS_PG; by default one per worker.
        milestones: the epochs at which trials report, besides the last; the epochs in between go into `curve`. None
            for every epoch.
        first_number: trial ids are numbers of five digits that start here.
        callbacks: called for starts, results, checkpoints and ends, as by Ray Tune, with a `SimulatedTrial`.

    Raises:
        ValueError: an argument is out of its bounds, or the searcher or scheduler refuses metric and mode.
        SimulationStalledError: no trial runs or ever will.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    if pending is not None and pending < 1:
        raise ValueError(f"pending is {pending}; it must be at least 1")
    if trials is None and seconds is None:
        raise ValueError("trials and seconds are both None; set one of them to limit the search")
    if param_space is not None and not searcher.set_search_properties(metric, mode, dict(param_space)):
        raise ValueError("the searcher already has a metric, a mode or a space; set param_space to None")
    if not scheduler.set_search_properties(metric, mode):
        raise ValueError("the scheduler already has a metric or a mode; create it without them")
    controller = _Controller(
        _SearchAlgorithm(searcher, trials),
        scheduler,
        evaluate,
        workers=workers,
        deadline=float("inf") if seconds is None else seconds,
        max_pending=workers if pending is None else pending,
        milestones=milestones,
        first_number=first_number,
        callbacks=callbacks,
    )
    controller.run()
    return Simulation(controller.events, controller.trials, controller.clock, controller.busy_seconds)


@final
class _SearchAlgorithm:
    """Replaces Ray Tune's `SearchGenerator`: a searcher and a limit on the number of trials."""

    def __init__(self, searcher: Searcher, trials: int | None) -> None:
        self.searcher = searcher
        self._left = trials
        self._finished = False

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        config = self.searcher.suggest(trial_id)
        if config == Searcher.FINISHED:
            self._finished = True
            return None
        if config is not None and self._left is not None:
            self._left -= 1
        return config

    def is_finished(self) -> bool:
        return self._finished or self._left == 0


@final
class _Controller:
    """Replaces Ray Tune's `TuneController`."""

    def __init__(
        self,
        search_alg: _SearchAlgorithm,
        scheduler: TrialScheduler,
        evaluate: Evaluate,
        *,
        workers: int,
        deadline: float,
        max_pending: int,
        milestones: Collection[int] | None,
        first_number: int,
        callbacks: Sequence[Callback],
    ) -> None:
        self.search_alg = search_alg
        self.clock = 0.0
        self.busy_seconds = 0.0
        self.events: list[SimulatedEvent] = []
        self.trials: list[SimulatedTrial] = []
        self._searcher = search_alg.searcher
        self._scheduler = scheduler
        self._evaluate = evaluate
        self._deadline = deadline
        self._max_pending = max_pending
        self._milestones = milestones
        self._first_number = first_number
        self._callbacks = callbacks
        self._free_workers = workers
        self._live: dict[SimulatedTrial, None] = {}  # not a set: the order matters
        self._pending: dict[SimulatedTrial, None] = {}
        self._queue: deque[SimulatedTrial] = deque()  # pending trials; those that have a worker are skipped
        self._agenda: list[tuple[float, int, SimulatedTrial, Callable[[SimulatedTrial], None]]] = []
        self._tickets = itertools.count()

    # Methods that schedulers may call.

    def get_trials(self) -> list[SimulatedTrial]:
        return self.trials

    def get_live_trials(self) -> KeysView[SimulatedTrial]:
        return self._live.keys()

    def has_resources_for_trial(self, trial: SimulatedTrial) -> bool:
        return True

    @property
    def trial_executor(self) -> _Controller:
        return self

    def pause_trial(self, trial: SimulatedTrial, should_checkpoint: bool = True) -> None:
        trial.is_saving = True
        self._plan(trial, 0.0, self._on_saved)

    def stop_trial(self, trial: SimulatedTrial) -> None:
        if trial.is_finished():
            return
        if trial.status == Trial.RUNNING:
            self._scheduler.on_trial_complete(self, trial, trial.last_result)
            self._searcher.on_trial_complete(trial_id=trial.trial_id, result=trial.last_result)
        else:
            self._scheduler.on_trial_remove(self, trial)
            self._searcher.on_trial_complete(trial_id=trial.trial_id)
        self._call("on_trial_complete", trial)
        ended_by_itself = trial.rows is not None and trial.epochs == len(trial.rows)
        self._end(trial, Trial.TERMINATED, "ended" if ended_by_itself else "stopped")

    # The loop.

    def run(self) -> None:
        idle_steps = 0
        while self._live or not self.search_alg.is_finished():
            known = len(self.events)
            for callback in self._callbacks:
                callback.on_step_begin(iteration=0, trials=self.trials)
            self._suggest_trials()
            self._assign_workers()
            if self._agenda and self._agenda[0][0] > self._deadline:
                self._stop_at_deadline()
                return
            if self._agenda:
                self._handle_event()
            idle_steps = 0 if self._agenda or len(self.events) > known else idle_steps + 1
            if idle_steps > IDLE_STEPS:
                raise SimulationStalledError(
                    f"at {self.clock} s no trial runs, and no trial is suggested, resumed or stopped; "
                    f"{counted(len(self._live), 'trial')} unfinished: "
                    f"{', '.join(map(str, itertools.islice(self._live, 3)))}"
                )

    def _suggest_trials(self) -> None:
        while not self.search_alg.is_finished() and len(self._pending) < self._max_pending:
            trial_id = f"{self._first_number + len(self.trials):05d}"
            config = self.search_alg.suggest(trial_id)
            if config is None:
                return
            trial = SimulatedTrial(trial_id=trial_id, config=config)
            self.trials.append(trial)
            self._live[trial] = None
            self._log(trial, "suggested")
            self._scheduler.on_trial_add(self, trial)
            if trial.status == Trial.PENDING:
                self._add_pending(trial)

    def _assign_workers(self) -> None:
        chosen = self._scheduler.choose_trial_to_run(self)
        if chosen is not None:
            assert chosen.status in (Trial.PENDING, Trial.PAUSED), f"the scheduler chose {chosen}"
            if chosen.status == Trial.PAUSED:
                self._add_pending(chosen)
            if self._free_workers and chosen.temporary_state.ray_actor is None:
                self._assign_worker(chosen)
        while self._free_workers and self._queue:
            trial = self._queue.popleft()
            if trial in self._pending and trial.temporary_state.ray_actor is None:
                self._assign_worker(trial)

    def _handle_event(self) -> None:
        when, ticket, trial, handle = heapq.heappop(self._agenda)
        if ticket == trial.ticket:
            self.clock = when
            handle(trial)

    def _stop_at_deadline(self) -> None:
        self.clock = self._deadline
        for trial in self._live:
            self._count_as_busy(trial)

    def _count_as_busy(self, trial: SimulatedTrial) -> None:
        if trial.status == Trial.RUNNING:
            self.busy_seconds += self.clock - trial.training_since
            trial.training_since = self.clock

    def _on_started(self, trial: SimulatedTrial) -> None:
        del self._pending[trial]
        trial.status = Trial.RUNNING
        if trial.rows is None:
            trial.rows = self._evaluate(trial.config)
            assert trial.rows, f"the curve of {trial.config} is empty"
        self._log(trial, "started")
        self._call("on_trial_start", trial)
        self._train(trial)

    def _train(self, trial: SimulatedTrial) -> None:
        assert trial.rows is not None, "a trial that trains has begun"
        end = trial.epochs + 1
        while not self._reports_after(trial.rows, end):
            end += 1
        trial.training_since = self.clock
        self._plan(trial, sum(row.seconds for row in trial.rows[trial.epochs : end]), self._on_trained)

    def _reports_after(self, rows: Sequence[Row], count: int) -> bool:
        """Whether a trial reports after it has trained `count` rows."""
        if self._milestones is None or count == len(rows):
            return True
        return rows[count - 1].epoch in self._milestones or rows[count - 1].error is not None

    def _on_trained(self, trial: SimulatedTrial) -> None:
        assert trial.rows is not None, "a trial that trained has begun"
        start = trial.epochs
        end = start + 1
        while not self._reports_after(trial.rows, end):
            end += 1
        last = trial.rows[end - 1]
        self._count_as_busy(trial)
        if last.error is not None:
            self._scheduler.on_trial_error(self, trial)
            self._searcher.on_trial_complete(trial_id=trial.trial_id, error=True)
            self._call("on_trial_error", trial)
            self._end(trial, Trial.ERROR, "failed")
            return
        trial.epochs = end
        trial.reports += 1
        new_seconds = sum(row.seconds for row in trial.rows[start:end])
        trial.trained_seconds += new_seconds
        result: dict[str, Any] = {
            **last.metrics,
            "epoch": last.epoch,
            "training_iteration": trial.reports,
            "time_this_iter_s": new_seconds,
            "time_total_s": trial.trained_seconds,
            "trial_id": trial.trial_id,
            "config": trial.config,
            "done": end == len(trial.rows),
        }
        if self._milestones is not None:
            result["curve"] = [{**row.metrics, "epoch": row.epoch} for row in trial.rows[start:end]]
        self._log(trial, "reported")
        decision = TrialScheduler.STOP if result["done"] else self._scheduler.on_trial_result(self, trial, result)
        if decision == TrialScheduler.STOP:
            result["done"] = True
        else:
            self._searcher.on_trial_result(trial.trial_id, result)
        self._call("on_trial_result", trial, result=result)
        trial.last_result = result
        if decision == TrialScheduler.STOP:
            self.stop_trial(trial)
        elif decision == TrialScheduler.PAUSE:
            self.pause_trial(trial)
        elif decision == TrialScheduler.CONTINUE:
            self._train(trial)
        else:
            assert decision == TrialScheduler.NOOP, f"the scheduler decided {decision!r}"

    def _on_saved(self, trial: SimulatedTrial) -> None:
        trial.is_saving = False
        trial.status = Trial.PAUSED
        self._release_worker(trial)
        self._log(trial, "paused")
        self._call("on_trial_save", trial)

    def _end(self, trial: SimulatedTrial, status: str, kind: EventKind) -> None:
        self._count_as_busy(trial)
        self._release_worker(trial)
        self._pending.pop(trial, None)
        del self._live[trial]
        trial.status = status
        trial.is_saving = False
        trial.ticket = -1
        self._log(trial, kind)

    def _add_pending(self, trial: SimulatedTrial) -> None:
        trial.status = Trial.PENDING
        self._pending[trial] = None
        self._queue.append(trial)

    def _assign_worker(self, trial: SimulatedTrial) -> None:
        self._free_workers -= 1
        trial.temporary_state.ray_actor = self
        self._plan(trial, 0.0, self._on_started)

    def _release_worker(self, trial: SimulatedTrial) -> None:
        if trial.temporary_state.ray_actor is not None:
            trial.temporary_state.ray_actor = None
            self._free_workers += 1

    def _call(self, name: str, trial: SimulatedTrial, **more: Any) -> None:
        for callback in self._callbacks:
            getattr(callback, name)(iteration=0, trials=self.trials, trial=trial, **more)

    def _plan(self, trial: SimulatedTrial, duration: float, handle: Callable[[SimulatedTrial], None]) -> None:
        trial.ticket = next(self._tickets)
        heapq.heappush(self._agenda, (self.clock + duration, trial.ticket, trial, handle))

    def _log(self, trial: SimulatedTrial, kind: EventKind) -> None:
        self.events.append(SimulatedEvent(self.clock, kind, trial.trial_id, trial.epochs))
