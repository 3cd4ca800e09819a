"""What an evaluation trains, how it ranks, and its tables; without Ray, by events as the recorder writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.config.loading import load_config
from orchestrator.evaluation.driver import PlannedTrials
from orchestrator.progress.search_view import SearchView
from orchestrator.record.events import (
    TrialSetBack,
)
from orchestrator.record.run_state import RunState
from orchestrator.record.tables import TRIALS, write_tables
from tests.evaluated import (
    ARCHITECTURES,
    CLEAR,
    FOLDS,
    SEARCH,
    SEEDS,
    around,
    end,
    evaluated,
    planned,
    searched,
)
from trainables.storage import Folder


def test_each_candidate_is_trained_once_for_each_fold_of_each_seed() -> None:
    state = planned(RunState.replay(SEARCH))
    trainings = [
        (trial.fingerprint, trial.resample.seed, trial.resample.fold)
        for trial in state.trials.values()
        if trial.resample
    ]
    fingerprints = [architecture.fingerprint for architecture in ARCHITECTURES[:3]]
    assert trainings == [(name, seed, fold) for seed in SEEDS for fold in range(FOLDS) for name in fingerprints]
    assert list(state.trials) == [f"{number:05d}" for number in range(18)]
    assert all(trial.resample is not None and trial.resample.folds == FOLDS for trial in state.trials.values())


def test_one_training_is_not_the_best_of_a_run() -> None:
    state = planned(RunState.replay(SEARCH))
    end(state, 0, 0.9)
    assert state.best is None
    assert state.front == []


def handing_out(state: RunState, over: Sequence[bool] = ()) -> PlannedTrials:
    return PlannedTrials(state, lambda tune_id, trial: {"id": trial.trial_id}, lambda: any(over))


def test_what_has_not_ended_is_handed_out_in_order_and_what_lost_its_worker_comes_next() -> None:
    state = planned(RunState.replay(SEARCH))
    for number in (0, 2):
        end(state, number, 0.5)
    trials = handing_out(state)
    assert [trials.suggest("x"), trials.suggest("y")] == [{"id": "00001"}, {"id": "00003"}]
    back = TrialSetBack(trial_id="00001", cause="worker_died", reason="SIGSEGV")
    state.apply(back)
    trials.apply(back)
    assert trials.suggest("z") == {"id": "00001"}
    while not trials.is_finished():
        last = trials.suggest("z")
    assert last == {"id": "00017"}
    assert trials.suggest("z") is None
    trials.apply(back)
    assert not trials.is_finished()


def test_once_it_is_over_nothing_is_handed_out() -> None:
    over = [False]
    trials = handing_out(planned(RunState.replay(SEARCH)), over)
    assert not trials.is_finished()
    over[0] = True
    assert trials.is_finished()
    assert trials.suggest("x") is None


def test_candidates_are_ranked_by_their_means_and_the_first_is_compared_with_each_other() -> None:
    outcome = evaluated(*CLEAR)
    assert [(one.name, one.rank, one.search_rank) for one in outcome.candidates] == [
        ("00001", 1, 2),
        ("00000", 2, 1),
        ("00002", 3, 3),
    ]
    assert outcome.winner == "00001"
    assert [one.other for one in outcome.comparisons] == ["00000", "00002"]
    assert outcome.comparisons[0].test.difference == pytest.approx(0.2)
    assert list(outcome.candidates[0].scores) == [(seed, fold) for seed in SEEDS for fold in range(FOLDS)]


def test_the_searchs_ranking_is_held_against_it_at_each_rung_and_at_its_end() -> None:
    four = searched([0.3, 0.9], [0.2, 0.8], [0.4, 0.7], [0.1, 0.6])
    outcome = evaluated(around(0.9), around(0.8), around(0.7), around(0.6), search=four)
    assert sorted(outcome.correlations) == [1, 2]
    first, last = outcome.correlations[1], outcome.correlations[2]
    assert first.spearman == pytest.approx(0.4)
    assert first.kendall == pytest.approx(1 / 3)
    assert last.spearman == pytest.approx(1.0)
    assert last.kendall == pytest.approx(1.0)
    assert outcome.correlated == {1: 4, 2: 4}


def test_the_tables_tell_seed_and_fold(tmp_path: Path) -> None:
    state = planned(RunState.replay(SEARCH))
    end(state, 4, 0.9)
    write_tables(state, Folder.at(tmp_path), seed=0)
    rows = pq.read_table(tmp_path / TRIALS).to_pylist()
    assert [(row["seed"], row["fold"]) for row in rows] == [
        (s, f) for s in SEEDS for f in range(FOLDS) for _ in range(3)
    ]
    assert rows[4]["val_accuracy"] == 0.9


def test_progress_names_the_candidate_that_leads() -> None:
    state = planned(RunState.replay(SEARCH))
    view = SearchView(load_config(None), state, ())
    assert "0 of 18 ended, 18 open" in view.snapshot().line
    for number, score in enumerate([0.5, 0.9, 0.1, 0.6]):
        end(state, number, score)
    assert "4 of 18 ended (4 completed), 14 open" in view.snapshot().line
    assert "best 0.9000 (cell 00001, mean of 1 training)" in view.snapshot().line
