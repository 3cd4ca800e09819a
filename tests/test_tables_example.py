"""The questions of examples/tables.py, answered of made-up searches and held against their states."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from orchestrator.record.run_state import RunState
from orchestrator.record.tables import write_tables
from tests.driving import busy, driven
from trainables.storage import Folder

# DuckDB's way to a DataFrame, in pandas 3.1.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")

Runs = dict[str, RunState]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Runs]:
    """Two searches in one folder, of which one has another objective, and so another column."""
    folder = tmp_path_factory.mktemp("runs")
    states: Runs = {}
    for name, objectives in (("first", None), ("second", {"val_accuracy": "maximize", "val_loss": "minimize"})):
        (folder / name).mkdir()
        with driven(folder / name, objectives=objectives) as hand:  # type: ignore[arg-type]
            busy(hand, 30)
            states[name] = hand.state
        write_tables(states[name], Folder.at(folder / name), seed=0)
    return folder, states


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[1] / "examples" / "tables.py"))


@pytest.fixture
def database(runs: tuple[Path, Runs], example: dict[str, Any]) -> Any:
    return example["connect"]([str(runs[0] / "*")])


def of_status(states: Runs, status: str) -> list[Any]:
    return [trial for state in states.values() for trial in state.trials.values() if trial.status == status]


def test_the_operations_of_the_best(runs: tuple[Path, Runs], example: dict[str, Any], database: Any) -> None:
    best = sorted(of_status(runs[1], "completed"), key=lambda trial: -trial.val_accuracy)[:10]
    expected = Counter(
        (cell, operation)
        for trial in best
        for cell in ("normal", "reduction")
        for block in trial.architecture[cell]["blocks"]
        for operation in (block[1], block[3])
    )
    rows = database.sql(example["OPERATIONS_OF_THE_BEST"]).fetchall()
    assert {(cell, operation): times for cell, operation, times in rows} == expected


def test_accuracy_by_epoch(runs: tuple[Path, Runs], example: dict[str, Any], database: Any) -> None:
    trials, epochs = database.table("trials").df(), database.table("epochs").df()
    found = example["accuracy_by_epoch"](trials, epochs, "pruned")
    scores = [trial.val_accuracy for trial in of_status(runs[1], "pruned")]
    assert list(found.index) == [1]
    assert found["count"][1] == len(scores) > 5
    assert found["mean"][1] == pytest.approx(fmean(scores))
    assert (found["min"][1], found["max"][1]) == (min(scores), max(scores))


def test_seconds_by_status(runs: tuple[Path, Runs], example: dict[str, Any], database: Any) -> None:
    for status, count, seconds, _ in database.sql(example["SECONDS_BY_STATUS"]).fetchall():
        trials = of_status(runs[1], status)
        assert count == len(trials) > 0
        assert seconds == pytest.approx(sum(trial.train_seconds for trial in trials), abs=0.1)


def test_best_so_far(runs: tuple[Path, Runs], example: dict[str, Any], database: Any) -> None:
    found = example["best_so_far"](database.table("trials").df())
    for name, state in runs[1].items():
        rows = found[found.run == name]
        assert (
            rows.trial_id.iloc[-1] == max(of_status({name: state}, "completed"), key=lambda t: t.val_accuracy).trial_id
        )
        assert rows.val_accuracy.is_monotonic_increasing
        assert (rows.hours >= 0).all()


def test_the_whole_of_it_is_printed(
    runs: tuple[Path, Runs],
    example: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["tables.py", str(runs[0] / "first"), str(runs[0] / "second")])
    example["main"]()
    out = capsys.readouterr().out
    compared = [line.split() for line in out.partition("The runs")[2].strip().splitlines()[1:]]
    assert sorted(line[0] for line in compared) == ["first", "second"]
    for name, trials, best, *_ in compared:
        state = runs[1][name]
        assert int(trials) == len(state.trials)
        assert state.best is not None
        assert float(best) == pytest.approx(state.best.val_accuracy, abs=1e-4)
