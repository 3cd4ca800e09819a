"""A search on a virtual clock: a searcher and a scheduler against known curves, in no time and without Ray running.

The loop calls both in the order in which Ray Tune 2.60 does (`ray.tune.execution.tune_controller`), so that whatever
runs there runs here: one step asks for new trials, lets the scheduler choose, gives out workers and handles one event.

Does not know what is searched, nor what a start, a checkpoint or an event costs: these take no time here. Where Ray
Tune gives a free worker to any of several waiting trials, it is the first of them here. Trials are not tried again
after an error, and schedulers that exchange what a trial is made of (PBT) are not served.
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

IDLE_STEPS = 3
"""After so many steps in which nothing happens, nothing ever will: a step depends on the ones before it only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One epoch of a curve: `epoch` counts from 1 on, and the epoch takes so many seconds.

    With an `error`, the trial fails at the end of this epoch and reports nothing of it.
    """

    epoch: int
    seconds: float
    metrics: Mapping[str, float]
    error: str | None = None


Evaluate = Callable[[dict[str, Any]], Sequence[Row]]
"""A candidate's whole curve, from its parameters. Called when its trial begins."""

EventKind = Literal["suggested", "started", "reported", "paused", "stopped", "ended", "failed"]
"""`started`: for the first time, or again after a pause. `stopped`: by the scheduler. `ended`: by itself."""


@dataclass(frozen=True, slots=True)
class SimulatedEvent:
    """What happened at that time, and how many epochs of the trial were known then."""

    seconds: float
    kind: EventKind
    trial_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """What came of it.

    `seconds` is the time on the clock at the end; `busy_seconds` is the sum over all workers of the time in which they
    trained.
    """

    events: list[SimulatedEvent]
    trials: list[SimulatedTrial]
    seconds: float
    busy_seconds: float


class SimulationStalledError(RuntimeError):
    """Nothing runs and nothing will: Ray Tune would wait for ever."""


@final
@dataclass(eq=False, slots=True, kw_only=True)
class SimulatedTrial:
    """Stands in for Ray Tune's `Trial`, with what schedulers touch of it, and what the simulation knows of it."""

    trial_id: str
    config: dict[str, Any]
    status: str = Trial.PENDING
    last_result: dict[str, Any] = field(default_factory=dict)
    is_saving: bool = False
    temporary_state: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(ray_actor=None))
    rows: Sequence[Row] | None = None
    """Its whole curve, once it has begun."""
    epochs: int = 0
    """How many rows it has reported."""
    reports: int = 0
    trained_seconds: float = 0.0
    training_since: float = 0.0
    ticket: int = -1
    """The event that it waits for; whatever else was planned for it is void."""

    @property
    def curve(self) -> Sequence[Row]:
        """The rows that it has reported."""
        return () if self.rows is None else self.rows[: self.epochs]

    def set_status(self, status: str) -> None:
        self.status = status

    def is_finished(self) -> bool:
        return self.status in (Trial.TERMINATED, Trial.ERROR)

    def __repr__(self) -> str:
        return f"trial {self.trial_id} ({self.status}, {self.epochs} epochs)"


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
    """Search until all trials have ended or the time is over.

    Args:
        searcher, scheduler: anything that Ray Tune takes.
        evaluate: the curve of a candidate.
        workers: how many trials run at a time.
        trials: how many there are in all; None for as many as there is time for.
        seconds: of virtual time, at the end of which trials stay as they are, nobody being told.
        metric, mode: told to the scheduler; and to the searcher, if `param_space` is given.
        param_space: Ray Tune's space; None if the searcher was made with one.
        pending: how many trials are asked for ahead, Ray Tune's TUNE_MAX_PENDING_TRIALS_PG; by default one a worker.
        milestones: report at these epochs and the last one only, the rows in between in `curve`; None for each epoch.
        first_number: trials are called by a number of five digits, from this one on.
        callbacks: are told of starts, results, checkpoints and ends, as Ray Tune tells them; what they ask of a trial
            beyond its id, they get of a `SimulatedTrial`.

    Raises:
        ValueError: an argument is out of its bounds, or the searcher or scheduler refuses metric and mode.
        SimulationStalledError: nothing runs and nothing will.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    if pending is not None and pending < 1:
        raise ValueError(f"pending is {pending}; it must be at least 1")
    if trials is None and seconds is None:
        raise ValueError("trials and seconds are both None; one of them must say when the search ends")
    if param_space is not None and not searcher.set_search_properties(metric, mode, dict(param_space)):
        raise ValueError("the searcher was made with a metric, a mode or a space already; give param_space=None")
    if not scheduler.set_search_properties(metric, mode):
        raise ValueError("the scheduler was made with a metric or a mode already; leave them to the simulation")
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
    """Stands in for Ray Tune's `SearchGenerator`: a searcher and the number of trials."""

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
    """Stands in for Ray Tune's `TuneController`."""

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
        self._live: dict[SimulatedTrial, None] = {}  # not a set, which has no order of its own
        self._pending: dict[SimulatedTrial, None] = {}
        self._line: deque[SimulatedTrial] = deque()  # of the pending; who has a worker by now is passed over
        self._agenda: list[tuple[float, int, SimulatedTrial, Callable[[SimulatedTrial], None]]] = []
        self._tickets = itertools.count()

    # What schedulers may call.

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
            self._ask()
            self._give_out_workers()
            if self._agenda and self._agenda[0][0] > self._deadline:
                self._stop_the_clock()
                return
            if self._agenda:
                self._handle_one()
            idle_steps = 0 if self._agenda or len(self.events) > known else idle_steps + 1
            if idle_steps > IDLE_STEPS:
                raise SimulationStalledError(
                    f"at {self.clock} s nothing runs, and nothing is suggested, promoted or stopped any more; "
                    f"{len(self._live)} trials are unfinished: {', '.join(map(str, itertools.islice(self._live, 3)))}"
                )

    def _ask(self) -> None:
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
                self._pend(trial)

    def _give_out_workers(self) -> None:
        chosen = self._scheduler.choose_trial_to_run(self)
        if chosen is not None:
            assert chosen.status in (Trial.PENDING, Trial.PAUSED), f"the scheduler chose {chosen}"
            if chosen.status == Trial.PAUSED:
                self._pend(chosen)
            if self._free_workers and chosen.temporary_state.ray_actor is None:
                self._give_worker(chosen)
        while self._free_workers and self._line:
            trial = self._line.popleft()
            if trial in self._pending and trial.temporary_state.ray_actor is None:
                self._give_worker(trial)

    def _handle_one(self) -> None:
        when, ticket, trial, handle = heapq.heappop(self._agenda)
        if ticket == trial.ticket:
            self.clock = when
            handle(trial)

    def _stop_the_clock(self) -> None:
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
        """Whether a trial that trained so many rows reports now."""
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
        self._take_worker(trial)
        self._log(trial, "paused")
        self._call("on_trial_save", trial)

    def _end(self, trial: SimulatedTrial, status: str, kind: EventKind) -> None:
        self._count_as_busy(trial)
        self._take_worker(trial)
        self._pending.pop(trial, None)
        del self._live[trial]
        trial.status = status
        trial.is_saving = False
        trial.ticket = -1
        self._log(trial, kind)

    def _pend(self, trial: SimulatedTrial) -> None:
        trial.status = Trial.PENDING
        self._pending[trial] = None
        self._line.append(trial)

    def _give_worker(self, trial: SimulatedTrial) -> None:
        self._free_workers -= 1
        trial.temporary_state.ray_actor = self
        self._plan(trial, 0.0, self._on_started)

    def _take_worker(self, trial: SimulatedTrial) -> None:
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
