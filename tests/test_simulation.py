from __future__ import annotations

from typing import Any

import pytest
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from orchestrator.schedulers import SCHEDULERS
from orchestrator.simulation.controller import Row, Simulation, SimulationStalledError, simulate


class Diary(Searcher):
    """Suggests 0, 1, 2, ... and notes what it is told."""

    def __init__(self, notes: list[tuple[Any, ...]], last: int | None = None) -> None:
        super().__init__()
        self.notes = notes
        self.last = last
        self.next = 0

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.next == self.last:
            return Searcher.FINISHED
        self.next += 1
        self.notes.append(("suggest", trial_id))
        return {"x": self.next - 1}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.notes.append(("searcher result", trial_id, result["epoch"]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.notes.append(("searcher complete", trial_id, None if result is None else result["epoch"], error))


class Scripted(TrialScheduler):
    """Decides by (trial, epoch), lets paused trials run when nobody waits, and notes what it is told."""

    def __init__(self, notes: list[tuple[Any, ...]], decisions: dict[tuple[str, int], str]) -> None:
        super().__init__()
        self.notes = notes
        self.decisions = decisions
        self.results: list[dict[str, Any]] = []

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self.notes.append(("add", trial.trial_id))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self.notes.append(("result", trial.trial_id, result["epoch"]))
        self.results.append(result)
        return self.decisions.get((trial.trial_id, result["epoch"]), TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self.notes.append(("complete", trial.trial_id, result["epoch"]))
        assert result is trial.last_result
        assert result["done"]

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self.notes.append(("error", trial.trial_id))

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self.notes.append(("remove", trial.trial_id))

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        chosen = FIFOScheduler.choose_trial_to_run(self, tune_controller)
        return chosen if tune_controller.search_alg.is_finished() else None

    def debug_string(self) -> str:
        return "scripted"


def flat(config: dict[str, Any], seconds: float = 1.0, epochs: int = 3) -> list[Row]:
    return [Row(epoch=epoch, seconds=seconds, metrics={"val_accuracy": 0.5}) for epoch in range(1, epochs + 1)]


def fifo(**settings: Any) -> Simulation:
    return simulate(Diary([]), SCHEDULERS["fifo"](max_epochs=3), **{"evaluate": flat, "workers": 1, **settings})


def test_calls_come_in_ray_tunes_order() -> None:
    notes: list[tuple[Any, ...]] = []
    decisions = {("00000", 1): TrialScheduler.PAUSE, ("00001", 2): TrialScheduler.STOP}
    simulate(Diary(notes), Scripted(notes, decisions), flat, workers=1, trials=2)
    assert notes == [
        ("suggest", "00000"),
        ("add", "00000"),
        ("suggest", "00001"),  # asked for ahead, once the first has begun
        ("add", "00001"),
        ("result", "00000", 1),
        ("searcher result", "00000", 1),  # it hears of a pause
        ("result", "00001", 1),
        ("searcher result", "00001", 1),
        ("result", "00001", 2),  # and not of a stop, but of the end
        ("complete", "00001", 2),
        ("searcher complete", "00001", 2, False),
        ("result", "00000", 2),
        ("searcher result", "00000", 2),
        ("complete", "00000", 3),  # nobody decides on the last result
        ("searcher complete", "00000", 3, False),
    ]


def test_a_paused_trial_goes_on_where_it_stopped() -> None:
    scheduler = Scripted([], {("00000", 1): TrialScheduler.PAUSE, ("00000", 2): TrialScheduler.PAUSE})
    run = simulate(Diary([]), scheduler, flat, workers=1, trials=1)
    assert [(event.kind, event.epoch, event.seconds) for event in run.events] == [
        ("suggested", 0, 0.0),
        ("started", 0, 0.0),
        ("reported", 1, 1.0),
        ("paused", 1, 1.0),
        ("started", 1, 1.0),
        ("reported", 2, 2.0),
        ("paused", 2, 2.0),
        ("started", 2, 2.0),
        ("reported", 3, 3.0),
        ("ended", 3, 3.0),
    ]
    assert [(result["epoch"], result["training_iteration"], result["done"]) for result in scheduler.results] == [
        (1, 1, False),
        (2, 2, False),
    ]
    assert run.trials[0].last_result["time_total_s"] == 3.0


def test_an_error_ends_a_trial_and_is_told() -> None:
    notes: list[tuple[Any, ...]] = []

    def failing(config: dict[str, Any]) -> list[Row]:
        return [*flat(config, epochs=1), Row(epoch=2, seconds=0.5, metrics={}, error="bang")]

    run = simulate(Diary(notes), Scripted(notes, {}), failing, workers=1, trials=1)
    assert notes[2:] == [
        ("result", "00000", 1),
        ("searcher result", "00000", 1),
        ("error", "00000"),
        ("searcher complete", "00000", None, True),
    ]
    assert (run.seconds, run.busy_seconds) == (1.5, 1.5)
    assert [row.epoch for row in run.trials[0].curve] == [1]


def test_a_scheduler_may_stop_a_trial_that_waits() -> None:
    notes: list[tuple[Any, ...]] = []

    class Ruthless(Scripted):
        def choose_trial_to_run(self, tune_controller: Any) -> Any:
            for trial in tune_controller.get_trials():
                if trial.status == "PAUSED":
                    tune_controller.stop_trial(trial)

    simulate(Diary(notes), Ruthless(notes, {("00000", 1): TrialScheduler.PAUSE}), flat, workers=1, trials=1)
    assert notes[-2:] == [("remove", "00000"), ("searcher complete", "00000", None, False)]


@pytest.mark.parametrize(("workers", "seconds"), [(1, 21.0), (2, 12.0), (3, 9.0), (7, 3.0), (16, 3.0)])
def test_the_clock_adds_up(workers: int, seconds: float) -> None:
    run = fifo(workers=workers, trials=7)
    assert (run.seconds, run.busy_seconds) == (seconds, 21.0)
    running = most = 0
    for event in run.events:
        running += {"started": 1, "ended": -1}.get(event.kind, 0)
        most = max(most, running)
    assert most == min(workers, 7)


def test_epochs_take_their_own_time_and_results_come_in_its_order() -> None:
    run = fifo(evaluate=lambda config: flat(config, seconds=3.0 - config["x"]), workers=2, trials=2)
    reported = [(event.seconds, event.trial_id, event.epoch) for event in run.events if event.kind == "reported"]
    assert reported == [
        (2.0, "00001", 1),
        (3.0, "00000", 1),
        (4.0, "00001", 2),
        (6.0, "00000", 2),
        (6.0, "00001", 3),
        (9.0, "00000", 3),
    ]


def test_when_the_time_is_over_trials_stay_as_they_are() -> None:
    notes: list[tuple[Any, ...]] = []
    run = simulate(Diary(notes), SCHEDULERS["fifo"](max_epochs=3), flat, workers=2, seconds=4.5)
    assert run.seconds == 4.5
    assert run.busy_seconds == 9.0
    assert [trial.epochs for trial in run.trials if trial.rows is not None] == [3, 3, 1, 1]
    assert sum(note[0] == "searcher complete" for note in notes) == 2


def test_a_searcher_may_end_the_search() -> None:
    run = simulate(Diary([], last=3), SCHEDULERS["fifo"](max_epochs=3), flat, workers=2, seconds=100.0)
    assert len(run.trials) == 3
    assert run.seconds == 6.0


@pytest.mark.parametrize(("pending", "suggested"), [(None, 8), (1, 5), (2, 6)])
def test_trials_are_asked_for_ahead(pending: int | None, suggested: int) -> None:
    run = fifo(workers=4, trials=100, pending=pending)
    assert sum(event.kind == "suggested" and event.seconds < 1 for event in run.events) == suggested


def test_grouped_epochs_are_reported_together() -> None:
    scheduler = Scripted([], {})

    def long(config: dict[str, Any]) -> list[Row]:
        return flat(config, epochs=5)

    run = simulate(Diary([]), scheduler, long, workers=1, trials=1, milestones=(1, 3))
    assert [(event.seconds, event.epoch) for event in run.events if event.kind == "reported"] == [
        (1, 1),
        (3, 3),
        (5, 5),
    ]
    assert [[row["epoch"] for row in result["curve"]] for result in scheduler.results] == [[1], [2, 3]]
    assert [result["training_iteration"] for result in scheduler.results] == [1, 2]


def test_what_would_wait_for_ever_is_an_error() -> None:
    class Hoarder(Scripted):
        def choose_trial_to_run(self, tune_controller: Any) -> Any:
            return None

    with pytest.raises(SimulationStalledError, match="1 trial unfinished: trial 00000 .PAUSED, 1 epoch"):
        simulate(Diary([]), Hoarder([], {("00000", 1): TrialScheduler.PAUSE}), flat, workers=1, trials=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0, "trials": 1}, "workers is 0"),
        ({"trials": 1, "pending": 0}, "pending is 0"),
        ({}, "trials and seconds are both None"),
    ],
)
def test_arguments_out_of_bounds_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fifo(**settings)


def test_a_scheduler_with_a_metric_of_its_own_is_refused_as_by_ray_tune() -> None:
    with pytest.raises(ValueError, match="the scheduler already has a metric"):
        simulate(Diary([]), AsyncHyperBandScheduler(metric="val_accuracy", mode="max"), flat, workers=1, trials=1)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("workers", [1, 4])
def test_ray_tunes_own_pair_runs_too(workers: int) -> None:
    def rising(config: dict[str, Any]) -> list[Row]:
        return [
            Row(epoch=epoch, seconds=1.0, metrics={"val_accuracy": config["x"] * epoch / 9}) for epoch in range(1, 10)
        ]

    run = simulate(
        OptunaSearch(seed=0),
        AsyncHyperBandScheduler(time_attr="epoch", max_t=9, reduction_factor=3),
        rising,
        workers=workers,
        trials=30,
        param_space={"x": tune.uniform(0, 1)},
    )
    assert len(run.trials) == 30
    assert all(trial.is_finished() for trial in run.trials)
    assert {trial.epochs for trial in run.trials} == {1, 3, 9}
