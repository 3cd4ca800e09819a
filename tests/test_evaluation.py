"""What an evaluation trains, what it comes to and what it says; without Ray, by events as the recorder writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from orchestrator.config.search_config import load_config
from orchestrator.errors import ConfigError, RunDirectoryError
from orchestrator.evaluation.candidates import EvaluatedSearch, candidates_of
from orchestrator.evaluation.driver import PlannedTrials
from orchestrator.evaluation.outcome import Outcome, outcome_of
from orchestrator.evaluation.request import request_of
from orchestrator.evaluation.run import evaluate
from orchestrator.evaluation.settings import EvaluationSettings
from orchestrator.evaluation.tables import candidates_table, evaluation_json, evaluation_summary, evaluation_tables
from orchestrator.evaluation.verdict import verdict
from orchestrator.objectives import Direction
from orchestrator.progress.search_view import SearchView
from orchestrator.record.event_log import EventLog
from orchestrator.record.events import (
    EvaluationPlanned,
    Event,
    RunEnded,
    RunStarted,
    TrialEnded,
    TrialSetBack,
    TrialStarted,
    TrialStatus,
    TrialSuggested,
)
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.record.tables import TRIALS, write_tables
from orchestrator.search.run import resume_search
from search_spaces import Architecture
from tests.builders import epoch, info, write
from tests.driving import TINY
from tests.records import snapshot
from trainables.storage import Folder

FOLDS, SEEDS = 2, [1, 2]
ARCHITECTURES = [TINY.sample(np.random.default_rng(seed)) for seed in range(6)]
ACCURACY: dict[str, Direction] = {"val_accuracy": "maximize"}


def started(objectives: Mapping[str, Direction] = ACCURACY) -> RunStarted:
    return RunStarted(slots=2, objectives=dict(objectives), constraints={}, distributions={})


def costs(architecture: Architecture) -> dict[str, float]:
    return {"parameters": float(ARCHITECTURES.index(architecture) + 1), "macs": 1.0, "activation_bytes": 1.0}


def searched(
    *scores: Sequence[float],
    objectives: Mapping[str, Direction] = ACCURACY,
    status: TrialStatus = "completed",
    first: int = 0,
) -> list[Event]:
    """A search whose trials have these scores by epoch; their architectures are those from `first` on."""
    events: list[Event] = [started(objectives)]
    for number, (curve, architecture) in enumerate(zip(scores, ARCHITECTURES[first:], strict=False)):
        trial_id = f"{number:05d}"
        events += [
            TrialSuggested(
                trial_id=trial_id,
                number=number,
                params=TINY.encode(architecture),
                architecture=architecture.to_json(),
                fingerprint=architecture.fingerprint,
                costs=costs(architecture),
                ask_seconds=0.0,
            ),
            TrialStarted(trial_id=trial_id, attempt=1),
            *(epoch(trial_id, number, score) for number, score in enumerate(curve, start=1)),
            TrialEnded(trial_id=trial_id, status=status),
        ]
    return [*events, RunEnded(outcome="completed")]


def planned(
    search: RunState, sample: RunState | None = None, objectives: Mapping[str, Direction] = ACCURACY
) -> RunState:
    best = sorted(search.trials.values(), key=lambda trial: trial.trial_id)
    candidates = candidates_of(best, None if sample is None else sample.best)
    return RunState.replay([started(objectives), EvaluationPlanned(candidates=candidates, folds=FOLDS, seeds=SEEDS)])


def end(state: RunState, number: int, score: float | None, status: TrialStatus = "completed") -> None:
    trial_id = f"{number:05d}"
    state.apply(TrialStarted(trial_id=trial_id, attempt=1))
    if score is not None:
        state.apply(epoch(trial_id, 1, score))
    state.apply(TrialEnded(trial_id=trial_id, status=status, error=None if status == "completed" else "bang"))


SEARCH = searched([0.3, 0.9], [0.2, 0.8], [0.4, 0.7])
"""Three candidates; after the first epoch the third leads."""


def evaluated(
    *scores: Sequence[float | None],
    search: Sequence[Event] = SEARCH,
    sample: Sequence[Event] | None = None,
    objectives: Mapping[str, Direction] = ACCURACY,
) -> Outcome:
    """Of candidates with these scores, one for each training; None for one that failed."""
    found = RunState.replay(search)
    drawn = None if sample is None else RunState.replay(sample)
    state = planned(found, drawn, objectives)
    for training, row in enumerate(zip(*scores, strict=True)):
        for place, score in enumerate(row):
            end(state, training * len(scores) + place, score, "failed" if score is None else "completed")
    return outcome_of(state, searched=found, sample=drawn, rungs=(1,), epochs=2)


def around(mean: float) -> list[float]:
    """Four scores with this mean."""
    return [mean + offset for offset in (-0.01, 0.01, 0.002, -0.002)]


CLEAR = (around(0.7), around(0.9), around(0.5))
"""The second is by far the best. (Offsets are the same for all, so that differences do not vary.)"""


def test_each_candidate_is_trained_once_for_each_fold_of_each_seed() -> None:
    state = planned(RunState.replay(SEARCH))
    trainings = [
        (trial.fingerprint, trial.resample.seed, trial.resample.fold)
        for trial in state.trials.values()
        if trial.resample
    ]
    fingerprints = [architecture.fingerprint for architecture in ARCHITECTURES[:3]]
    assert trainings == [(name, seed, fold) for seed in SEEDS for fold in range(FOLDS) for name in fingerprints]
    assert list(state.trials) == [f"{number:05d}" for number in range(12)]
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
    assert last == {"id": "00011"}
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
    assert list(outcome.candidates[0].scores) == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_the_searchs_ranking_is_held_against_it_at_each_rung_and_at_its_end() -> None:
    outcome = evaluated(around(0.9), around(0.8), around(0.7))
    assert sorted(outcome.correlations) == [1, 2]
    first, last = outcome.correlations[1], outcome.correlations[2]
    assert first.spearman == pytest.approx(-0.5)
    assert first.kendall == pytest.approx(-1 / 3)
    assert last.spearman == pytest.approx(1.0)
    assert last.kendall == pytest.approx(1.0)
    assert outcome.correlated == {1: 3, 2: 3}


def test_the_verdict_names_a_winner_only_where_the_difference_is_more_than_chance() -> None:
    assert verdict(evaluated(*CLEAR)) == (
        "The winner is 00001: its mean val_accuracy is the highest, and its difference from each of the other 2 is "
        "more than chance."
    )
    level = evaluated([0.90, 0.80, 0.91, 0.85], [0.85, 0.88, 0.86, 0.90], [0.1, 0.1, 0.1, 0.1])
    assert verdict(level) == "No difference found among 00001 and 00000; 1 other is worse than 00001."
    same = evaluated(*([around(0.9)] * 3))
    assert verdict(same) == "No difference found among 00000, 00001 and 00002."


def test_being_picked_as_the_best_of_equals_is_no_difference() -> None:
    """Candidates that are equal: the highest of six means is called better than one of the others, or than the best of
    the random search, no more often than chance may."""
    generator = np.random.default_rng(0)
    searches, overlap = 400, 1 / 2  # of two folds, as Nadeau and Bengio take it
    search = searched(*[[0.5, 0.5]] * 5)
    sample = searched([0.5, 0.5], first=5)
    worse = better = 0
    for _ in range(searches):
        noise = generator.normal(size=(6, 4)) * (1 - overlap) ** 0.5 + generator.normal(size=(6, 1)) * overlap**0.5
        outcome = evaluated(*(0.5 + 0.01 * noise).tolist(), search=search, sample=sample)
        worse += any(one.p_adjusted < 0.05 for one in outcome.comparisons)
        against = outcome.against_sampled
        better += against is not None and against.p_adjusted < 0.05 and against.test.difference > 0
    assert 0 < worse < 0.05 * searches
    assert 0 < better < 0.05 * searches


def test_a_loss_is_better_when_it_is_lower() -> None:
    objectives: dict[str, Direction] = {"train_loss": "minimize"}
    search = searched([0.5, 0.9], [0.5, 0.8], objectives=objectives)
    outcome = evaluated(around(0.9), around(0.8), search=search, objectives=objectives)
    assert (outcome.metric, outcome.direction) == ("train_loss", "minimize")
    assert outcome.candidates[0].spread is not None
    assert "No difference found" in verdict(outcome)  # all losses of these events are 1


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (0.6, "00001 is better than the best of a random search of equal cost, random/00000, by 0.3000 (between"),
        (0.95, "00001 is worse than the best of a random search of equal cost, random/00000, by 0.0500 (between"),
        (0.9, "No difference found between 00001 and the best of a random search of equal cost, random/00000."),
    ],
)
def test_the_best_of_a_random_search_stands_beside_it(score: float, told: str) -> None:
    sample = searched([0.5, 0.99], [0.5, 0.1], first=3)
    outcome = evaluated(*CLEAR, around(score), sample=sample)
    assert outcome.sampled == "random/00000"
    assert outcome.winner == "00001"
    assert told in verdict(outcome)
    assert verdict(outcome).startswith("The winner is 00001")
    assert outcome.sample_cost is not None
    assert (outcome.sample_cost.trials, outcome.sample_cost.epochs, outcome.search_cost.epochs) == (2, 4, 6)


def test_a_cell_that_both_found_is_trained_once() -> None:
    sample = searched([0.5, 0.99], first=1)
    outcome = evaluated(*CLEAR, sample=sample)
    assert [one.name for one in outcome.candidates] == ["00001", "00000", "00002"]
    assert outcome.candidates[0].candidate.random_id == "00000"
    assert verdict(outcome).endswith("00001 is also the best of a random search of equal cost.")
    other = evaluated(*CLEAR, sample=searched([0.5, 0.99], first=2))
    assert "00001 is better than the best of a random search of equal cost, 00002, by 0.4000" in verdict(other)


def test_a_random_search_that_found_nothing_is_told() -> None:
    sample = searched([0.5], status="failed", first=3)
    assert "found no candidate that completed its training" in verdict(evaluated(*CLEAR, sample=sample))


def test_a_candidate_without_all_its_scores_is_left_out_and_named() -> None:
    outcome = evaluated(around(0.7), [0.99, None, 0.99, 0.99], around(0.5))
    assert [(one.name, one.rank) for one in outcome.candidates] == [("00000", 1), ("00002", 2), ("00001", None)]
    assert verdict(outcome).endswith(
        "00001 is left out: 1 of its 4 trainings did not complete; the first failed: bang."
    )
    alone = evaluated(around(0.7), [None] * 4, [None] * 4)
    assert alone.winner is None
    assert verdict(alone).startswith("Nothing can be compared")


def test_of_several_objectives_the_front_is_told_anew() -> None:
    objectives: dict[str, Direction] = {"val_accuracy": "maximize", "parameters": "minimize"}
    search = searched([0.3, 0.7], [0.2, 0.8], [0.4, 0.9], objectives=objectives)
    outcome = evaluated(*CLEAR, search=search, objectives=objectives)
    assert {one.name: one.on_front for one in outcome.candidates} == {"00000": True, "00001": True, "00002": False}
    assert "By the means of all objectives, beaten by none: 00001 and 00000." in verdict(outcome)


def test_before_its_end_it_says_how_far_it_is() -> None:
    state = planned(RunState.replay(SEARCH))
    end(state, 0, 0.9)
    outcome = outcome_of(state, searched=RunState.replay(SEARCH), sample=None, rungs=None, epochs=2)
    assert verdict(outcome) == "Not finished: 1 of 12 trainings have ended."
    assert evaluation_json(outcome)["finished"] is False
    assert evaluation_summary(outcome, "here").startswith(
        "evaluation  here\ntrainings   1 of 12 ended: 2 folds, 2 seeds"
    )


def test_it_is_told_in_80_columns_and_to_programs(tmp_path: Path, capsys: Any) -> None:
    from rich.console import Console

    outcome = evaluated(*CLEAR, around(0.6), sample=searched([0.5, 0.99], first=3))
    Console(width=80).print(evaluation_tables(outcome))
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert "random/00000" in shown
    found = json.loads(json.dumps(evaluation_json(outcome)))
    assert [row["name"] for row in found["candidates"]] == ["00001", "00000", "random/00000", "00002"]
    assert len(found["candidates"][0]["scores"]) == 4
    assert found["comparisons"][0]["p_adjusted"] >= found["comparisons"][0]["p"]
    table = candidates_table(outcome).to_pylist()
    assert [row["rank"] for row in table] == [1, 2, 3, 4]
    assert table[0]["low"] < table[0]["mean"] < table[0]["high"]


def test_the_tables_tell_seed_and_fold(tmp_path: Path) -> None:
    state = planned(RunState.replay(SEARCH))
    end(state, 4, 0.9)
    write_tables(state, Folder.at(tmp_path))
    rows = pq.read_table(tmp_path / TRIALS).to_pylist()
    assert [(row["seed"], row["fold"]) for row in rows] == [
        (s, f) for s in SEEDS for f in range(FOLDS) for _ in range(3)
    ]
    assert rows[4]["val_accuracy"] == 0.9


def test_progress_names_the_candidate_that_leads() -> None:
    state = planned(RunState.replay(SEARCH))
    view = SearchView(load_config(None), state, ())
    assert "0 of 12 ended, 12 open" in view.snapshot().line
    for number, score in enumerate([0.5, 0.9, 0.1, 0.6]):
        end(state, number, score)
    assert "4 of 12 ended (4 completed), 8 open" in view.snapshot().line
    assert "best 0.9000 (cell 00001, mean of 1 trainings)" in view.snapshot().line


def recorded(folder: Path, events: Sequence[Event], **values: Any) -> RunDirectory:
    directory = RunDirectory.at(folder / "run")
    directory.create(info(**{"state": "completed", "config": load_config(None).model_dump(mode="json"), **values}))
    write(directory, list(events))
    return directory


def test_the_best_are_those_of_the_leaderboard_each_once(tmp_path: Path) -> None:
    again = [
        event.model_copy(update={"trial_id": "00009"})
        for event in SEARCH
        if isinstance(event, TrialSuggested | TrialEnded) and event.trial_id == "00001"
    ]
    pruned = again[-1].model_copy(update={"status": "pruned"})
    more = searched([0.3, 0.9], [0.2, 0.8], [0.4, 0.7], [0.95, 0.99], [0.6])[:-2]
    weak = [*more[-3:], TrialEnded(trial_id="00004", status="pruned")]
    failed = [event for event in more if getattr(event, "trial_id", "") == "00003"][:-1]
    failed.append(TrialEnded(trial_id="00003", status="failed"))
    events = [*SEARCH[:-1], again[0], epoch("00009", 1, 0.99), pruned, *failed, *weak, SEARCH[-1]]
    search = EvaluatedSearch.read(str(recorded(tmp_path, events)))
    assert [trial.trial_id for trial in search.best(None)] == ["00000", "00001", "00002", "00004"]
    assert [trial.trial_id for trial in search.best(2)] == ["00000", "00001"]


def test_of_several_objectives_the_best_are_the_front(tmp_path: Path) -> None:
    objectives: dict[str, Direction] = {"val_accuracy": "maximize", "parameters": "minimize"}
    search = searched([0.8], [0.7], [0.9], objectives=objectives)
    found = EvaluatedSearch.read(str(recorded(tmp_path, search)))
    assert [trial.trial_id for trial in found.best(None)] == ["00002", "00000"]
    assert list(request_of(EvaluationSettings(), found).candidates) == ["00002", "00000"]


def test_the_random_search_has_the_budget_and_the_scheduler_but_draws_of_its_own(tmp_path: Path) -> None:
    config = load_config(None, ["budget.trials=7", "scheduler.name=median", "run.seed=4", "warm_start.runs=['x']"])
    found = EvaluatedSearch.read(str(recorded(tmp_path, SEARCH, config=config.model_dump(mode="json"))))
    random = found.random_config()
    assert random.sampler.options == {"seed": 5}
    same = ("space", "network", "data", "training", "trainable", "scheduler", "objectives", "budget", "resources")
    assert all(getattr(random, section) == getattr(config, section) for section in same)
    assert random.run.seed == config.run.seed
    assert random.warm_start.runs == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--top", "1"], "--top is 1; it must be at least 2: one candidate cannot be compared"),
        (["--folds", "1"], "--folds is 1; it must be at least 2: one is held out"),
        (["--seeds", "0"], "--seeds is 0; it must be at least 1"),
    ],
)
def test_numbers_that_cannot_be_are_refused_in_one_line(
    options: list[str], told: str, cellscout: Any, tmp_path: Path
) -> None:
    run = recorded(tmp_path, SEARCH)
    before = snapshot(tmp_path)
    ended = cellscout("evaluate", str(run), *options)
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith(f"cellscout: {told}")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("interrupted", "run is unfinished (interrupted); end it with: cellscout resume"),
        ("failed", "run is unfinished (failed); end it with: cellscout resume"),
        ("running", "run is still being searched; wait until it has ended"),
    ],
)
def test_a_search_that_has_not_ended_is_refused(state: str, told: str, cellscout: Any, tmp_path: Path) -> None:
    run = recorded(tmp_path, SEARCH, state=state, host="elsewhere")
    ended = cellscout("evaluate", str(run))
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert told in ended.err


def test_a_search_with_one_candidate_is_refused(cellscout: Any, tmp_path: Path) -> None:
    run = recorded(tmp_path, searched([0.5, 0.9]))
    ended = cellscout("evaluate", str(run))
    assert ended.status == 2
    assert ended.err.startswith("cellscout: too few candidates can be compared in ")
    assert ": 1 with a score, at least 2 are needed; search on with cellscout resume" in ended.err


def test_what_is_no_run_directory_is_refused(cellscout: Any, tmp_path: Path) -> None:
    ended = cellscout("evaluate", "absent")
    assert (ended.status, ended.err) == (2, "cellscout: absent holds no run (no run.json there)\n")


@pytest.fixture
def ended(tmp_path: Path) -> RunDirectory:
    """A search and its evaluation, which has ended, without a random search."""
    run = recorded(tmp_path, SEARCH)
    settings = EvaluationSettings(top=3, folds=FOLDS, seeds=len(SEEDS), baseline=False)
    wanted = request_of(settings, EvaluatedSearch.read(str(run)))
    directory = run / "evaluation"
    directory.create(info(state="completed", evaluation=wanted))
    state = planned(RunState.replay(SEARCH))
    assert state.evaluation is not None
    events: list[Event] = [started(), state.evaluation]
    for number in range(12):
        trial_id = f"{number:05d}"
        events += [TrialStarted(trial_id=trial_id, attempt=1), epoch(trial_id, 1, 0.9 - 0.1 * (number % 3))]
        events.append(TrialEnded(trial_id=trial_id, status="completed"))
    write(directory, [*events, RunEnded(outcome="completed")])
    return run


SAME = ["--top", "3", "--folds", "2", "--seeds", "2", "--no-baseline"]


def test_one_that_has_ended_is_told_again_without_ray(cellscout: Any, ended: RunDirectory) -> None:
    found = cellscout("evaluate", str(ended), *SAME)
    assert found.status == 0
    assert "verdict     The winner is 00000" in found.out
    told = json.loads(cellscout("evaluate", str(ended), *SAME, "--json").out)
    assert told["outcome"] == json.loads((ended / "evaluation").folder.read("evaluation.json"))
    assert pq.read_table(Path(ended.location) / "evaluation" / "candidates.parquet").num_rows == 3
    assert b"The winner is 00000" in ended.folder.read("report.html")  # its search's page


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--top", "2"],
            "the list of candidates (--top) was ['00000', '00001', '00002'], and is ['00000', '00001']",
        ),
        (["--folds", "4"], "--folds was 2, and is 4"),
        (["--seeds", "1"], "--seeds was 2, and is 1"),
        (["--baseline"], "--baseline was False, and is True"),
    ],
)
def test_another_one_than_the_one_that_is_there_is_refused(
    options: list[str], told: str, cellscout: Any, ended: RunDirectory
) -> None:
    before = snapshot(Path(ended.location))
    found = cellscout("evaluate", str(ended), *SAME, *options)
    assert (found.status, found.out) == (2, "")
    folder = f"{ended}/evaluation"
    assert found.err == f"cellscout: {folder} cannot be resumed: {told}; choose another --evaluation-dir\n"
    assert snapshot(Path(ended.location)) == before


def test_one_whose_search_has_gone_on_since_is_refused(ended: RunDirectory) -> None:
    with EventLog.reopen(ended) as log:
        log.append(*(event for event in searched(*[[0.5]] * 4) if getattr(event, "trial_id", None) == "00003"))
    with pytest.raises(ConfigError, match="the search's number of trials was 3, and is 4"):
        evaluate(ended.location, EvaluationSettings(top=3, folds=FOLDS, seeds=len(SEEDS), baseline=False))


def test_an_evaluation_is_no_search(ended: RunDirectory, tmp_path: Path) -> None:
    directory = ended / "evaluation"
    with pytest.raises(
        RunDirectoryError, match="holds an evaluation and not a search; name the run directory of its search"
    ):
        resume_search(directory.location)
    with pytest.raises(
        RunDirectoryError, match="holds an evaluation and not a search; name the run directory of its search"
    ):
        evaluate(directory.location)
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="cannot be resumed: it is a search"):
        evaluate(ended.location, evaluation_dir=ended.location)
