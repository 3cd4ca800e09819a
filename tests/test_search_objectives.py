"""Whole searches on Ray with several objectives, constraints, duplicates and results of other runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from optuna.trial import TrialState

from orchestrator.record.event_log import read_events
from orchestrator.record.events import TrialPaused
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_state import RunState
from orchestrator.record.tables import TRIALS
from orchestrator.search.run import SearchResult, run_search
from orchestrator.study import load_study
from tests.builders import config
from tests.driving import FOUR, TINY
from trainables.storage import Folder

TWO = {"minimize": ["macs"], "constraints": {"parameters": 120_000}}


@pytest.fixture(scope="module", params=["asha", pytest.param("asha_promotion", marks=pytest.mark.slow)])
def two_objectives(
    request: pytest.FixtureRequest, local_ray: None, tmp_path_factory: pytest.TempPathFactory
) -> SearchResult:
    return run_search(
        config(
            objectives=TWO,
            scheduler={"name": request.param},
            sampler={"name": "nsgaii", "options": {"population_size": 10}},
            network={"repeats": 1, "filters": 8},
            budget={"trials": 30},
        ),
        run_dir=tmp_path_factory.mktemp("runs") / "two",
    )


def test_two_objectives_are_pruned_and_end_in_a_front_within_the_constraint(two_objectives: SearchResult) -> None:
    state = two_objectives.state
    counts = state.counts()
    assert counts["pruned"] > 0
    assert counts["infeasible"] > 0
    assert counts["completed"] + counts["pruned"] == 30
    assert len(state.front) >= 1
    for member in state.front:
        assert member.parameters is not None
        assert member.parameters <= 120_000
        assert member.epochs == 9
    assert all(trial.attempt == 0 for trial in state.trials.values() if trial.status == "infeasible")
    assert all(trial.attempt <= 1 for trial in state.trials.values())
    paused = [event for event in read_events(two_objectives.directory) if isinstance(event, TrialPaused)]
    assert bool(paused) == (two_objectives.directory.read_info().config["scheduler"]["name"] == "asha_promotion")


def test_optuna_finds_the_same_front(two_objectives: SearchResult) -> None:
    study = load_study(two_objectives.directory.location)
    assert {trial.user_attrs["trial_id"] for trial in study.best_trials} == {
        member.trial_id for member in two_objectives.state.front
    }
    violated = [trial for trial in study.trials if any(value > 0 for value in trial.constraints.values())]
    assert len(violated) == two_objectives.state.counts()["infeasible"]
    assert all(trial.state == TrialState.PRUNED for trial in violated)


def test_only_the_record_is_left(two_objectives: SearchResult) -> None:
    folder = Path(two_objectives.directory.location)
    assert {path.name for path in folder.iterdir()} == {
        "run.json",
        "events.jsonl",
        TRIALS,
        "epochs.parquet",
        "best",
        "checkpoints",
        "report.html",
    }
    assert RunState.replay(read_events(two_objectives.directory)) == two_objectives.state
    best = two_objectives.state.best
    assert best is not None
    assert json.loads((folder / "best" / "metrics.json").read_text())["trial_id"] == best.trial_id


@pytest.fixture(scope="module")
def crowded(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """A search in a space so small that the sampler proposes duplicates."""
    return run_search(config(budget={"trials": 60}), run_dir=tmp_path_factory.mktemp("runs") / "old", space=TINY)


def test_duplicates_cost_neither_budget_nor_a_worker(crowded: SearchResult) -> None:
    counts = crowded.state.counts()
    assert counts["duplicate"] > 0
    assert counts["completed"] + counts["pruned"] == 60
    trained = [trial.fingerprint for trial in crowded.state.trials.values() if trial.attempt > 0]
    again = [trial for trial in crowded.state.trials.values() if trial.status == "duplicate"]
    assert all(trial.fingerprint in trained and trial.attempt == 0 for trial in again)
    table = pq.read_table(Path(crowded.directory.location) / TRIALS).to_pandas()
    duplicates = table[table.status == "duplicate"]
    assert duplicates.duplicate_of.isin(table.trial_id).all()
    assert (duplicates.train_seconds == 0).all()


def test_load_study_returns_the_study_of_a_run(crowded: SearchResult) -> None:
    study = load_study(crowded.directory.location)
    assert len(study.trials) == len(crowded.state.trials)
    assert crowded.state.best is not None
    assert study.best_trial.user_attrs["trial_id"] == crowded.state.best.trial_id
    assert study.best_value == crowded.state.best.val_accuracy


@pytest.mark.slow
def test_imported_results_answer_duplicates(local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the space's three networks were trained before; only the third is trained."""
    monkeypatch.setattr("orchestrator.search.candidates.MAX_KNOWN_IN_A_ROW", 100)
    scheduler = {"name": "fifo"}
    run_search(config(budget={"trials": 2}, scheduler=scheduler), run_dir=tmp_path / "old", space=FOUR)
    result = run_search(
        config(budget={"trials": 9}, scheduler=scheduler, warm_start={"runs": [str(tmp_path / "old")]}),
        run_dir=tmp_path / "run",
        space=FOUR,
    )
    assert list(result.state.imported) == ["old/00000", "old/00001"]
    assert result.state.counts()["completed"] == 1
    answers = {trial.duplicate_of for trial in result.state.trials.values() if trial.status == "duplicate"}
    assert {"old/00000", "old/00001"} <= answers
    assert len(load_study(tmp_path / "run").trials) == 2 + len(result.state.trials)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["random", "local_search", "evolution"],
)
def test_a_space_that_is_used_up_ends_the_search(
    name: str, local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.search.candidates.MAX_KNOWN_IN_A_ROW", 100)
    result = run_search(
        config(budget={"trials": 50}, sampler={"name": name}, scheduler={"name": "fifo"}),
        run_dir=tmp_path / "run",
        space=FOUR,
    )
    assert result.state.outcome == "exhausted"
    assert result.reason == "the sampler proposed nothing new any more"
    assert result.state.counts()["completed"] == 3
    assert result.directory.read_info().state == "exhausted"


def test_a_sampler_that_breaks_ends_the_search_with_its_reason(local_ray: None, tmp_path: Path) -> None:
    from optuna.samplers import RandomSampler

    from orchestrator.errors import SearchError

    class Breaks(RandomSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            if trial.number == 5:
                raise ZeroDivisionError("no way")
            return {}

    with pytest.raises(SearchError, match="the sampler failed: .*no way") as caught:
        run_search(config(), run_dir=tmp_path / "run", sampler=Breaks(seed=0))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert RecordedRun.read(tmp_path / "run").state().reason == str(caught.value)
    assert len(RunState.replay(read_events(Folder.at(tmp_path / "run"))).trials) == 5
