"""Tests of PASHA and of the scheduler `cut`, on a virtual clock and on Ray."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.search import Searcher

from orchestrator.config.loading import parse_config
from orchestrator.schedulers import SCHEDULERS
from orchestrator.schedulers.asha_promotion import FINALISTS
from orchestrator.schedulers.ceiling import Ceiling, SoftRanking, differences_by_noise
from orchestrator.search.run import run_search
from orchestrator.simulation.controller import Evaluate, Row, SimulatedTrial, Simulation, simulate

TRIALS = 81
Score = Callable[[int, int], float]
"""The score of a trial by its number and epoch."""


class Numbers(Searcher):
    """A searcher that suggests 0, 1, 2, ..."""

    def suggest(self, trial_id: str) -> dict[str, Any]:
        return {"number": int(trial_id)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass


def search(name: str, score: Score, *, workers: int = 4, trials: int = TRIALS, **settings: Any) -> Simulation:
    def evaluate(config: dict[str, Any]) -> list[Row]:
        number = config["number"]
        return [Row(epoch=epoch, seconds=1.0, metrics={"val_accuracy": score(number, epoch)}) for epoch in range(1, 28)]

    return simulated(name, evaluate, workers=workers, trials=trials, **settings)


def simulated(name: str, evaluate: Evaluate, *, workers: int, trials: int, **settings: Any) -> Simulation:
    scheduler = SCHEDULERS[name](max_epochs=27, **settings)
    return simulate(Numbers(), scheduler, evaluate, workers=workers, trials=trials)


def limit(number: int) -> float:
    return number * 37 % TRIALS / TRIALS


def lengths(run: Simulation) -> Counter[int]:
    return Counter(trial.epochs for trial in run.trials)


@pytest.mark.parametrize("workers", [1, 4, 64])
def test_while_the_ranking_stays_only_the_finalists_go_past_the_second_rung(workers: int) -> None:
    run = search("pasha", lambda number, epoch: limit(number) + epoch, workers=workers)
    assert lengths(run)[27] == FINALISTS
    assert lengths(run).keys() == {1, 3, 27}
    best = sorted(run.trials, key=lambda trial: limit(trial.config["number"]))[-FINALISTS:]
    assert all(trial.epochs == 27 for trial in best)


def test_noise_does_not_raise_the_ceiling_but_a_change_of_the_ranking_does() -> None:
    def noisy(number: int, epoch: int) -> float:  # two groups far apart; within each, the order changes at every epoch
        return float(number % 2) + 0.01 * math.sin(number * 7.0 + epoch * 2.5)

    def changing(number: int, epoch: int) -> float:  # every trial has a slope of its own
        return limit(number) + epoch * limit(number + 40)

    assert lengths(search("pasha", noisy)).keys() == {1, 3, 27}
    assert lengths(search("pasha", changing))[9] > 0


@pytest.mark.parametrize("trials", [1, 2, 5])
def test_a_small_search_trains_its_best_to_the_end(trials: int) -> None:
    run = search("pasha", lambda number, epoch: limit(number), trials=trials)
    assert max(run.trials, key=lambda trial: limit(trial.config["number"])).epochs == 27


def test_a_metric_of_the_trainables_own_counts_at_every_epoch_of_a_report_too() -> None:
    """In the rows of a report's curve the trainable's own metrics lie below `metrics`; on record they do not."""
    live, replayed = (SCHEDULERS["pasha"](max_epochs=27, objectives={"own": "maximize"}) for _ in range(2))
    generator = np.random.default_rng(1)
    for number in range(4):
        name = f"{number:05d}"
        scores = dict(enumerate(0.5 + 0.05 * generator.random(9) + 0.02 * np.arange(9), start=1))
        for epochs in ((1,), (2, 3), tuple(range(4, 10))):
            rows = [{"epoch": epoch, "metrics": {"own": scores[epoch]}} for epoch in epochs]
            live._enter_in_ceiling(name, {"epoch": epochs[-1], "own": scores[epochs[-1]], "curve": rows})
        replayed.replay(name, [{"epoch": epoch, "own": score} for epoch, score in scores.items()])
    assert live._ceiling.epoch == replayed._ceiling.epoch
    assert [ranking.epsilon for ranking in live._ceiling._rankings.values()] == [
        ranking.epsilon for ranking in replayed._ceiling._rankings.values()
    ]


def test_the_ceiling_is_the_first_rung_that_ranks_as_the_one_below_it() -> None:
    ceiling = Ceiling((1, 3, 9), 27)
    assert ceiling.epoch == 3
    enter(ceiling, "a", [0.1, 0.2, 0.5])
    assert ceiling.epoch == 3
    enter(ceiling, "b", [0.2, 0.2, 0.4])
    assert ceiling.epoch == 9
    enter(ceiling, "a", [0.1, 0.2, 0.5, *[0.6] * 6])
    assert ceiling.epoch == 9
    enter(ceiling, "c", [0.0, 0.0, 0.0, *[0.7] * 6])
    assert ceiling.epoch == 27
    assert Ceiling((1,), 3).epoch == Ceiling((), 1).epoch + 2 == 3


def test_the_ceiling_falls_again_when_a_change_turns_out_as_noise() -> None:
    ceiling = Ceiling((1, 3, 9), 27)
    for name, curve in {"a": [0.5, 0.50, 0.6], "b": [0.51, 0.51, 0.59]}.items():
        enter(ceiling, name, curve)
    assert ceiling.epoch == 9
    for name, curve in {"c": [0.90, 0.95, 0.90], "d": [0.88, 0.96, 0.88]}.items():  # they cross twice, 0.02 apart
        enter(ceiling, name, curve)
    assert ceiling.epoch == 3


def enter(ceiling: Ceiling, name: str, curve: list[float]) -> None:
    for epoch, score in enumerate(curve, start=1):
        ceiling.enter(name, epoch, score)


CURVES = st.lists(st.lists(st.integers(0, 4).map(float), min_size=4, max_size=4), min_size=1, max_size=8)


@given(CURVES)
def test_differences_by_noise_match_the_definition(curves: list[list[float]]) -> None:
    """A pair counts if its order at the end was reversed at an earlier epoch, and was as at the end before that."""
    *others, new = curves
    expected = []
    for other in others:
        signs = [(x > y) - (x < y) for x, y in zip(other, new, strict=True)]
        pairs = itertools.combinations(signs[:-1], 2)
        if signs[-1] != 0 and any(first == signs[-1] and then == -signs[-1] for first, then in pairs):
            expected.append(abs(other[-1] - new[-1]))
    assert differences_by_noise(np.array(others).reshape(-1, 4), np.array(new)).tolist() == expected


@given(CURVES)
def test_a_ranking_is_stable_if_each_trial_stays_in_the_group_of_its_place(curves: list[list[float]]) -> None:
    one, other = SoftRanking(2, 4), SoftRanking(2, 4)
    for curve in curves:
        one.enter(curve)
    for curve in reversed(curves):
        other.enter(curve)
    assert (one.is_stable, one.epsilon) == (other.is_stable, other.epsilon)
    below = sorted((curve[1] for curve in curves), reverse=True)
    here = sorted(curves, key=lambda curve: (-curve[3], -curve[1]))
    assert one.is_stable == all(abs(curve[1] - place) <= one.epsilon for curve, place in zip(here, below, strict=True))


def test_a_duplicate_at_the_ceiling_would_not_continue() -> None:
    scheduler: Any = SCHEDULERS["pasha"](max_epochs=27, objectives={"val_accuracy": "maximize"})
    for number in range(9):
        curve = [{"epoch": epoch, "val_accuracy": number / 10} for epoch in (1, 2, 3)]
        scheduler.replay(f"{number:05d}", curve)
    row = {"val_accuracy": 0.9}
    assert scheduler.would_continue(1, row)
    assert scheduler.would_continue(2, row)
    assert not scheduler.would_continue(3, row)


def test_a_cut_trains_all_for_some_epochs_and_of_every_few_the_best_in_full() -> None:
    run = search("cut", lambda number, epoch: limit(number), min_epochs=4, reduction_factor=9, workers=1)
    assert lengths(run).keys() == {4, 27}
    assert lengths(run)[27] >= TRIALS // 9
    best = sorted(run.trials, key=lambda trial: limit(trial.config["number"]))[-TRIALS // 9 :]
    assert all(trial.epochs == 27 for trial in best)


SMALL_SEARCHES = pytest.mark.parametrize(
    ("name", "trials", "settings"),
    [("asha_promotion", 5, {}), ("pasha", 5, {}), ("cut", 15, {"reduction_factor": 10})],
)
"""Searches that promote a single trial in each rung."""


@SMALL_SEARCHES
@pytest.mark.parametrize(
    "last", [{"error": "bang"}, {"metrics": {"val_accuracy": math.nan}}], ids=["fails", "diverges"]
)
def test_a_search_whose_best_trials_do_not_come_to_their_end_trains_the_next_one_in_full(
    last: dict[str, Any], name: str, trials: int, settings: dict[str, Any]
) -> None:
    def evaluate(config: dict[str, Any]) -> list[Row]:
        scores = {"val_accuracy": 1 - config["number"] / trials}
        rows = [Row(epoch=epoch, seconds=1.0, metrics=scores) for epoch in range(1, 28)]
        return [*rows[:4], replace(rows[4], **last)] if config["number"] < 2 else rows

    run = simulated(name, evaluate, workers=2, trials=trials, min_epochs=3, **settings)
    assert [trial.trial_id for trial in run.trials if trial.epochs == 27] == ["00002"]


@SMALL_SEARCHES
@pytest.mark.parametrize(("epochs", "promoted"), [(3, "00001"), (5, "00001"), (27, None)])
def test_a_resumed_search_trains_another_trial_in_full_unless_one_is(
    epochs: int, promoted: str | None, name: str, trials: int, settings: dict[str, Any]
) -> None:
    """The best trial ended after these epochs, the first three of which are those before its rung."""
    scheduler: Any = SCHEDULERS[name](max_epochs=27, min_epochs=3, objectives={"val_accuracy": "maximize"}, **settings)
    stopped: list[str] = []
    controller = SimpleNamespace(
        search_alg=SimpleNamespace(is_finished=lambda: True), stop_trial=lambda trial: stopped.append(trial.trial_id)
    )
    names = [f"{number:05d}" for number in range(trials)]
    for number, trial_id in enumerate(names):
        rows = range(1, 1 + (3 if number else epochs))
        scheduler.replay(trial_id, [{"epoch": epoch, "val_accuracy": 1 - number / trials} for epoch in rows])
    for trial_id in names[1:]:
        scheduler.on_trial_add(controller, SimulatedTrial(trial_id=trial_id, config={}))
    chosen = scheduler.choose_trial_to_run(controller)
    assert (chosen and chosen.trial_id) == promoted
    assert stopped == ([] if promoted else names[1:])


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("name", "epochs"), [("pasha", {1, 3, 9}), ("cut", {1, 9})])
def test_on_ray_a_search_ends_with_whole_trainings(name: str, epochs: set[int], tmp_path: Path) -> None:
    config = parse_config(
        {
            "training": {"epochs": 9},
            "trainable": {"name": "instant"},
            "sampler": {"name": "random"},
            "scheduler": {"name": name},
            "budget": {"trials": 24},
        },
        "x",
    )
    result = run_search(config, run_dir=tmp_path / "run")
    trials = [trial for trial in result.state.trials.values() if trial.duplicate_of is None]
    assert result.state.outcome == "completed"
    assert {trial.epochs for trial in trials} == epochs
    assert max(trials, key=lambda trial: trial.curve[0].val_accuracy or 0).status == "completed"
