"""Which candidates an evaluation takes from its search, what it refuses, what a repeated command says; without Ray."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator.config.loading import load_config
from orchestrator.config.search_config import BudgetSettings
from orchestrator.errors import ConfigError, RunDirectoryError
from orchestrator.evaluation.candidates import EvaluatedSearch
from orchestrator.evaluation.effort import MIN_TRAININGS, remaining_work
from orchestrator.evaluation.request import find_recorded, request_of
from orchestrator.evaluation.run import evaluate
from orchestrator.evaluation.settings import EvaluationSettings
from orchestrator.objectives import Direction
from orchestrator.record.event_log import EventLog
from orchestrator.record.events import (
    Event,
    RunEnded,
    TrialEnded,
    TrialRepeated,
    TrialStarted,
    TrialSuggested,
)
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_info import EvaluationInfo
from orchestrator.record.run_state import RunState
from orchestrator.search.run import resume_search
from tests.builders import at, epoch, info, write
from tests.evaluated import (
    FOLDS,
    SEARCH,
    SEEDS,
    around,
    end,
    planned,
    recorded,
    searched,
    started,
)
from tests.records import snapshot
from trainables.assignment import Resample


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
    assert [trial.trial_id for trial in search.state.to_evaluate(None)] == ["00000", "00001", "00002", "00004"]
    assert [trial.trial_id for trial in search.state.to_evaluate(2)] == ["00000", "00001"]


def test_of_several_objectives_the_best_are_the_front(tmp_path: Path) -> None:
    objectives: dict[str, Direction] = {"val_accuracy": "maximize", "parameters": "minimize"}
    search = searched([0.8], [0.7], [0.9], objectives=objectives)
    found = EvaluatedSearch.read(str(recorded(tmp_path, search)))
    assert [trial.trial_id for trial in found.state.to_evaluate(None)] == ["00002", "00000"]
    assert list(request_of(EvaluationSettings(), found).candidates) == ["00002", "00000"]


def test_by_default_the_first_two_are_trained_often_enough_for_a_verdict(tmp_path: Path) -> None:
    wanted = request_of(EvaluationSettings(), EvaluatedSearch.read(str(recorded(tmp_path, SEARCH))))
    assert (list(wanted.candidates), wanted.folds, wanted.seeds, wanted.baseline) == (["00000", "00001"], 5, 1, True)
    assert wanted.folds * wanted.seeds >= MIN_TRAININGS


def test_the_random_search_has_the_budget_and_the_scheduler_but_draws_of_its_own(tmp_path: Path) -> None:
    config = load_config(None, ["budget.trials=7", "scheduler.name=median", "run.seed=4", "warm_start.runs=['x']"])
    found = EvaluatedSearch.read(str(recorded(tmp_path, SEARCH, config=config.model_dump(mode="json"))))
    random = found.random_config()
    assert random.sampler.options == {"seed": 5}
    same = ("space", "network", "data", "training", "trainable", "scheduler", "objectives", "budget", "resources")
    assert all(getattr(random, section) == getattr(config, section) for section in same)
    assert random.run.seed == config.run.seed
    assert random.warm_start.runs == []
    hours = config.model_copy(update={"budget": BudgetSettings(trials=None, hours=2.0)})
    found = EvaluatedSearch.read(str(recorded(tmp_path / "hours", SEARCH, config=hours.model_dump(mode="json"))))
    assert found.random_config().budget.hours == pytest.approx(1.0)  # the other half is for the confirmation


def lasting(events: Sequence[Event], seconds: float) -> RunState:
    """The state after the events, from the first to the last of which so many seconds pass."""
    first, *between, last = (event.model_copy(update={"time": at(0)}) for event in events)
    return RunState.replay([first, *between, last.model_copy(update={"time": at(seconds)})])


def test_it_says_how_many_trainings_are_left_and_how_long_they_take() -> None:
    """The search trained one second per epoch for two epochs, with 2 workers, and took a minute. A full training of six
    epochs takes 6 s, 24 of them on 4 workers 36 s, and the random search half a minute."""
    search = lasting(SEARCH, 60)
    candidates = {trial_id: trial.fingerprint for trial_id, trial in search.trials.items()}
    wanted = EvaluationInfo(candidates=candidates, folds=2, seeds=3, baseline=True, trials=3)

    def told(state: RunState, sample: RunState, wanted: EvaluationInfo = wanted, search: RunState = search) -> str:
        return remaining_work(wanted, searched=search, state=state, sample=sample, epochs=6, slots=4)

    product = "(4 candidates x 2 folds x 3 seeds) on 4 workers"
    new = RunState()
    assert told(new, new) == f"a random search of equal cost, then at most 24 trainings {product}: about 1 min"
    single = wanted.model_copy(update={"seeds": 1})
    assert told(new, new, single).endswith("; fewer than 5 trainings of each give no verdict (--folds, --seeds)")
    repeat = TrialRepeated(trial_id="00003", repeats="00000", seed=1, split="fresh")
    confirmation: list[Event] = [repeat, *(epoch("00003", number, 0.5) for number in range(1, 7))]
    confirmed = lasting([*SEARCH[:-1], *confirmation, SEARCH[-1]], 120)  # half of its time is the confirmation
    assert told(new, new, search=confirmed) == told(new, new)
    begun = lasting(SEARCH[:-1], 20)
    assert told(new, begun) == (
        f"the rest of a random search of equal cost, then at most 24 trainings {product}: about 45 s"
    )
    assert told(new, lasting(SEARCH, 20)) == f"at most 24 trainings {product}: about 35 s"
    state = planned(search)
    for number in range(11):
        end(state, number, 0.5)
    product = "(3 candidates x 2 folds x 3 seeds) on 4 workers"
    assert told(state, lasting(SEARCH, 20)) == f"7 of 18 trainings left {product}: about 10 s"
    alone = wanted.model_copy(update={"baseline": False})
    assert told(new, new, alone) == f"18 trainings {product}: about 30 s"


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
    for number in range(18):
        trial_id = f"{number:05d}"
        events += [
            TrialStarted(trial_id=trial_id, attempt=1),
            epoch(trial_id, 1, around(0.9 - 0.1 * (number % 3), number % 3)[number // 3]),
        ]
        events.append(TrialEnded(trial_id=trial_id, status="completed"))
    write(directory, [*events, RunEnded(outcome="completed")])
    return run


SAME = ["--top", "3", "--folds", "2", "--seeds", "3", "--no-baseline"]


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
        (["--seeds", "1"], "--seeds was 3, and is 1"),
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


def test_one_that_has_trained_nothing_may_be_another(ended: RunDirectory) -> None:
    directory = ended / "evaluation"
    events = RecordedRun.read(directory).events()
    search = EvaluatedSearch.read(ended.location)
    other = request_of(EvaluationSettings(top=2, folds=4), search)
    (Path(ended.location) / "evaluation" / "events.jsonl").unlink()
    write(directory, events[:2])
    found = find_recorded(directory, other)
    assert found is not None
    assert found.directory == directory
    (directory / "random").create(info())  # of another budget, if the search has gone on
    write(directory / "random", SEARCH)
    assert find_recorded(directory, other) is not None
    with pytest.raises(ConfigError, match="--folds was 2, and is 4"):
        find_recorded(directory, other.model_copy(update={"trials": other.trials + 1}))


def test_a_later_plan_replaces_one_of_which_nothing_was_trained() -> None:
    state = planned(RunState.replay(SEARCH))
    assert state.evaluation is not None
    candidates = state.evaluation.candidates[:2]
    state.apply(state.evaluation.model_copy(update={"folds": 5, "seeds": [1], "candidates": candidates}))
    assert len(state.trials) == 10
    assert state.trials["00009"].resample == Resample(seed=1, split="fold", folds=5, fold=4)


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
