"""The contract of a scheduler, as a check to run on your own.

    from cellscout import check_scheduler

    def test_my_scheduler() -> None:
        check_scheduler(lambda: MyScheduler(max_epochs=27))

The check runs the scheduler through whole searches on a virtual clock, with calls in Ray Tune's order, without starting
Ray. Results hold `epoch`, `val_accuracy` and `macs`. Ray Tune's metric is `val_accuracy`, to be maximised.

Knows Ray Tune's interface and `orchestrator.schedulers.protocol`. Does not know any scheduler.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from orchestrator.schedulers import HasMilestones, Replayable
from orchestrator.simulation import Evaluate, Row, Simulation, SimulationStalledError, simulate

DECISIONS = (TrialScheduler.CONTINUE, TrialScheduler.PAUSE, TrialScheduler.STOP)
"""The decisions that a scheduler may return."""

GROWTH_RUNS = 3
"""Attempts of the check of call times. Other load on the machine slows single runs, a slow scheduler slows all."""

WORKERS = 64
"""Workers in the largest searches."""


def check_scheduler(
    make: Callable[[], TrialScheduler],
    *,
    max_epochs: int = 27,
    min_epochs: int = 1,
    many_trials: int = 2000,
    growth: float = 4.0,
) -> None:
    """Run every check on the scheduler that `make` builds.

    Args:
        make: builds a new scheduler for trials of `max_epochs`, without a metric.
        max_epochs: the whole budget of a trial.
        min_epochs: the first epoch at which a trial may be stopped.
        many_trials: number of trials in the longest search.
        growth: maximum ratio of a call's mean time in the last quarter of that search to its time in the first quarter.

    Raises:
        AssertionError: the scheduler breaks the contract; the message says how.
    """
    healthy = _curves(max_epochs)
    for workers, trials in ((WORKERS, 300), (4, 60), (1, 30), (WORKERS, 1), (2, 2)):
        run = _run(make(), healthy, workers=workers, trials=trials)
        early = [event for event in run.events if event.kind == "stopped" and event.epoch < min_epochs]
        assert not early, f"trial {early[0].trial_id} was stopped at epoch {early[0].epoch}, before {min_epochs}"
    _check_determinism(make, healthy)
    _check_trouble(make, max_epochs)
    _check_grouped(make, healthy)
    _check_replay(make, healthy)
    _check_growth(make, healthy, trials=many_trials, growth=growth)


def _check_trouble(make: Callable[[], TrialScheduler], max_epochs: int) -> None:
    """Check errors, trials that end by themselves, and values that are not finite."""
    for workers in (WORKERS, 3):
        _run(make(), _troubled(_curves(max_epochs)), workers=workers, trials=300)
    scheduler = make()
    if not isinstance(scheduler, HasMilestones) or not scheduler.milestones:
        return
    last = max(scheduler.milestones)
    for value in (math.nan, math.inf, -math.inf):
        run = _run(make(), _with_bad_values(_curves(max_epochs), value), workers=WORKERS, trials=90)
        passed = [trial for trial in run.trials if trial.config["number"] % 3 == 0 and trial.epochs > last]
        assert not passed, (
            f"{passed[0]} reported val_accuracy {value} and continued past epoch {last}, the last milestone"
        )


def _check_grouped(make: Callable[[], TrialScheduler], evaluate: Evaluate) -> None:
    """Check that a scheduler with milestones decides the same if only the milestones are reported."""
    scheduler = make()
    if not isinstance(scheduler, HasMilestones):
        return
    single = _run(make(), evaluate, workers=8, trials=120)
    grouped = _run(scheduler, evaluate, workers=8, trials=120, milestones=scheduler.milestones)
    for one, other in zip(single.trials, grouped.trials, strict=True):
        assert one.epochs == other.epochs, (
            f"trial {one.trial_id} was trained for {one.epochs} epochs if each was reported, but for {other.epochs} "
            f"if only the milestones {scheduler.milestones} were"
        )


def _check_determinism(make: Callable[[], TrialScheduler], evaluate: Evaluate) -> None:
    first, second = (_run(make(), evaluate, workers=8, trials=120) for _ in range(2))
    for one, other in zip(first.events, second.events, strict=False):
        assert one == other, f"given the same results, the scheduler led to {one} at first and to {other} later"


def _check_replay(make: Callable[[], TrialScheduler], evaluate: Evaluate) -> None:
    """Check that a scheduler after a replay decides the same as the one that ran the past trials."""
    original, rebuilt = make(), make()
    replayable: Any = rebuilt
    if not isinstance(replayable, Replayable):
        return
    past = _run(original, evaluate, workers=8, trials=120)
    rebuilt.set_search_properties("val_accuracy", "max")
    for trial in past.trials:
        replayable.replay(trial.trial_id, [{**row.metrics, "epoch": row.epoch} for row in trial.curve])
    after, replayed = (_run(one, evaluate, workers=8, trials=60, first=120) for one in (original, rebuilt))
    for one, other in zip(after.events, replayed.events, strict=False):
        assert one == other, f"after 120 trials {one} came next, but after a replay of these trials {other}"


def _check_growth(make: Callable[[], TrialScheduler], evaluate: Evaluate, *, trials: int, growth: float) -> None:
    for _ in range(GROWTH_RUNS):
        checked = _CheckedScheduler(make())
        _run(checked, evaluate, workers=WORKERS, trials=trials)
        first, last = checked.seconds_per_call(0.0, 0.25), checked.seconds_per_call(0.75, 1.0)
        if last <= growth * first:
            return
    raise AssertionError(
        f"in a search of {trials} trials, a call takes {first * 1e6:.0f} us in the first quarter and "
        f"{last * 1e6:.0f} us in the last quarter, {last / first:.1f} times as long; "
        f"at most growth = {growth:g} times is allowed"
    )


def _run(
    scheduler: TrialScheduler,
    evaluate: Evaluate,
    *,
    workers: int,
    trials: int,
    first: int = 0,
    milestones: Collection[int] | None = None,
) -> Simulation:
    """Simulate a search and check that it ends all its trials."""
    try:
        run = simulate(
            _Numbers(first),
            scheduler if isinstance(scheduler, _CheckedScheduler) else _CheckedScheduler(scheduler),
            evaluate,
            workers=workers,
            trials=trials,
            first_number=first,
            milestones=milestones,
        )
    except SimulationStalledError as error:
        raise AssertionError(f"a search of {trials} trials on {workers} workers does not end: {error}") from error
    ends = {"stopped", "ended", "failed"}
    ended = sum(event.kind in ends for event in run.events)
    assert ended == trials, f"only {ended} of {trials} trials ended"
    return run


def _curves(max_epochs: int) -> Evaluate:
    """Return curves that rise and cross; no two epochs take equally long, so results arrive in any order."""

    def evaluate(config: dict[str, Any]) -> Sequence[Row]:
        generator = random.Random(config["number"])
        limit, pace, seconds = generator.random(), generator.uniform(1, 10), generator.uniform(0.5, 5)
        macs = generator.random() + limit
        return [
            Row(
                epoch=epoch,
                seconds=seconds * generator.uniform(0.9, 1.1),
                metrics={
                    "val_accuracy": limit * (1 - math.exp(-epoch / pace)) + generator.uniform(0, 0.05),
                    "macs": macs,
                },
            )
            for epoch in range(1, max_epochs + 1)
        ]

    return evaluate


def _troubled(healthy: Evaluate) -> Evaluate:
    """Return curves of which one quarter fails, one ends early by itself, and one is NaN from some epoch on."""

    def evaluate(config: dict[str, Any]) -> Sequence[Row]:
        rows = list(healthy(config))
        generator = random.Random(-1 - config["number"])
        at = generator.randrange(len(rows))
        match generator.randrange(4):
            case 0:
                return [*rows[:at], replace(rows[at], error="a made-up error")]
            case 1:
                return rows[: at + 1]
            case 2:
                broken = [replace(row, metrics={**row.metrics, "val_accuracy": math.nan}) for row in rows[at:]]
                return [*rows[:at], *broken]
        return rows

    return evaluate


def _with_bad_values(healthy: Evaluate, value: float) -> Evaluate:
    """Return curves in which every third trial has this value at each epoch."""

    def evaluate(config: dict[str, Any]) -> Sequence[Row]:
        rows = healthy(config)
        if config["number"] % 3:
            return rows
        return [replace(row, metrics={**row.metrics, "val_accuracy": value}) for row in rows]

    return evaluate


@final
class _Numbers(Searcher):
    """A searcher that suggests `number` = first, first + 1, ..."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self._next = first

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self._next += 1
        return {"number": self._next - 1}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        pass

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass


@final
class _CheckedScheduler(TrialScheduler):
    """Wraps a scheduler, checks what it returns, and measures the time of its calls."""

    def __init__(self, scheduler: TrialScheduler) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._seconds = 0.0
        self._calls = 0
        self._at_result: list[tuple[float, int]] = [(0.0, 0)]

    def seconds_per_call(self, start: float, end: float) -> float:
        """Return the mean CPU seconds of a call between two fractions, 0 to 1, of all results."""
        results = len(self._at_result) - 1
        (seconds_before, calls_before), (seconds, calls) = (
            self._at_result[round(fraction * results)] for fraction in (start, end)
        )
        return (seconds - seconds_before) / (calls - calls_before)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return bool(self._scheduler.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._call(self._scheduler.on_trial_add, tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        decision: str = self._call(self._scheduler.on_trial_result, tune_controller, trial, result)
        self._at_result.append((self._seconds, self._calls))
        assert decision in DECISIONS, f"on_trial_result returned {decision!r}; it must be one of {', '.join(DECISIONS)}"
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self._call(self._scheduler.on_trial_complete, tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._call(self._scheduler.on_trial_error, tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._call(self._scheduler.on_trial_remove, tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        chosen: Trial | None = self._call(self._scheduler.choose_trial_to_run, tune_controller)
        again: Trial | None = self._call(self._scheduler.choose_trial_to_run, tune_controller)
        assert chosen is again, (
            f"choose_trial_to_run returned {chosen}, and at a second call {again}; Ray Tune may call it twice"
        )
        return chosen

    def debug_string(self) -> str:
        return str(self._scheduler.debug_string())

    def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        started = time.thread_time()
        try:
            return method(*arguments)
        finally:
            self._seconds += time.thread_time() - started
            self._calls += 1
