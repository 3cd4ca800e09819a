"""Searches on Ray that end with a confirmed winner, with a trainable whose scores depend on the seed."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from safetensors.numpy import load, save

from orchestrator.cluster import stopping
from orchestrator.config.loading import load_config
from orchestrator.progress.display import Progress
from orchestrator.record.events import ConfirmationPlanned, Event, TrialEnded, TrialRepeated
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.record.tables import TRIALS
from orchestrator.search.run import SearchResult, resume_search, run_search
from search_spaces import Architecture
from tests.builders import config, write
from tests.killing import Drivers, Searching, pace, search_file
from tests.own_ray import Head
from tests.paced_trainable import trained
from tests.records import on_record
from trainables import EpochTrainable
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.instant_trainable import made_up_result

EPOCHS = 2
SETTINGS: dict[str, Any] = {
    "training": {"epochs": EPOCHS},
    "scheduler": {"name": "fifo"},
    "budget": {"trials": 6},
    "confirmation": {"candidates": 2, "trainings": 3, "share": 2},
}


class Noisy(EpochTrainable):
    """The accuracy is drawn from the candidate and the seed of its training."""

    def prepare(self, data: DataSplits) -> None:
        self.images = len(data.train), len(data.validation)

    def begin(self, architecture: Architecture) -> dict[str, Any]:
        self.epoch, self.name = 0, architecture.fingerprint
        return {"device": "cpu"}

    def train_epoch(self) -> EpochResult:
        time.sleep(0.05)
        self.epoch += 1
        accuracy = random.Random(f"{self.name} {self.plan.seed}").uniform(0.3, 0.7)
        return replace(made_up_result(0.9, self.epoch), val_accuracy=accuracy, seconds=0.05)

    def state(self) -> bytes:
        return save({"epoch": np.array([self.epoch])})

    def load_state(self, state: bytes) -> None:
        self.epoch = int(load(state)["epoch"][0])

    def weights(self) -> bytes:
        return save({"seed": np.array([self.plan.seed])})


@pytest.fixture(scope="module")
def confirmed(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchResult, str]:
    """A search with a confirmed winner, and what it told the user."""
    console = Console(file=io.StringIO(), width=200)
    with console.capture() as capture:
        result = run_search(
            config(**SETTINGS),
            run_dir=tmp_path_factory.mktemp("runs") / "confirmed",
            trainable=Noisy,
            progress=Progress(console),
        )
    return result, capture.get()


def test_a_search_ends_with_a_confirmed_winner(confirmed: tuple[SearchResult, str]) -> None:
    result, _ = confirmed
    found = result.confirmation
    assert found is not None
    assert result.winner is result.state.trials[found.winner.trial_id]
    assert result.state.outcome == "completed"
    for one in found.candidates:
        drawn = [
            random.Random(f"{result.state.trials[one.trial_id].fingerprint} {seed}").uniform(0.3, 0.7)
            for seed in range(1, one.trainings + 1)
        ]
        assert one.scores["val_accuracy"].mean == pytest.approx(sum(drawn) / len(drawn))
    assert max(one.trainings for one in found.candidates) in (2, 3)


def test_its_cost_is_said_before_it_starts(confirmed: tuple[SearchResult, str]) -> None:
    _, told = confirmed
    assert (
        "confirming the best 2 of 6 completed trials: at most 6 new trainings in all; about 6 are expected, in" in told
    )
    assert "judging by the number of validation images" in told


def test_the_winner_is_in_best_with_its_confirmation(confirmed: tuple[SearchResult, str]) -> None:
    result, _ = confirmed
    assert result.winner is not None
    metrics = result.directory.best_metrics()
    assert metrics["trial_id"] == result.winner.trial_id
    assert metrics["winner"] == "confirmed"
    assert metrics["confirmation"]["candidates"][0]["trial_id"] == result.winner.trial_id
    assert load(result.directory.best.read("weights.safetensors"))["seed"][0] == 0  # of its trial in the search
    assert not any("_" in name for name in result.directory.checkpoints.trial_ids())  # no new training's are kept


def test_the_table_says_what_each_trial_was_for(confirmed: tuple[SearchResult, str]) -> None:
    result, _ = confirmed
    rows = pq.read_table(Path(result.directory.location) / TRIALS).to_pylist()
    assert [row["purpose"] for row in rows].count("search") == 6
    repeats = [row for row in rows if row["purpose"] == "confirmation"]
    assert len(repeats) == len(result.state.repeats) >= 4
    assert all(row["trial_id"] == f"{row['repeats']}_{row['seed']}" for row in repeats)
    assert {(row["purpose"], row["split"]) for row in rows} == {("search", "search"), ("confirmation", "fresh")}
    assert all(row["epochs"] == EPOCHS for row in repeats)


def test_a_confirmation_continues_from_any_point_of_its_record(
    confirmed: tuple[SearchResult, str], tmp_path: Path
) -> None:
    """The points: the plan is on record, one training has ended and another is under way, the last has ended but is
    not compared, all have ended.
    """
    result, _ = confirmed
    events = RecordedRun.read(result.directory).events()
    plan = next(place for place, event in enumerate(events, start=1) if isinstance(event, ConfirmationPlanned))
    repeats = [place for place, event in enumerate(events, start=1) if isinstance(event, TrialRepeated)]
    last = max(place for place, event in enumerate(events, start=1) if isinstance(event, TrialEnded))
    info = result.directory.read_info().model_copy(update={"state": "running", "pid": 2**22 + 1})
    assert result.confirmation is not None
    for count in (plan, repeats[3], last, len(events) - 1):
        directory = RunDirectory.at(tmp_path / str(count))
        directory.create(info)
        write(directory.folder, events[:count])
        again = resume_search(tmp_path / str(count), trainable=Noisy)
        assert again.confirmation is not None
        assert again.confirmation == result.confirmation.model_copy(update={"time": again.confirmation.time})
        assert set(again.state.repeats) == set(result.state.repeats)
        ends = [event.trial_id for event in RecordedRun.read(directory).events() if isinstance(event, TrialEnded)]
        assert len(ends) == len(set(ends)) == len(result.state.trials) + len(result.state.repeats)


def test_ctrl_c_between_the_search_and_its_confirmation_leaves_it_to_a_resume(
    confirmed: tuple[SearchResult, str], tmp_path: Path
) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, ConfirmationPlanned):
            os.kill(os.getpid(), signal.SIGINT)

    result, _ = confirmed
    events = RecordedRun.read(result.directory).events()
    searched = events[: next(place for place, event in enumerate(events) if isinstance(event, ConfirmationPlanned))]
    directory = RunDirectory.at(tmp_path / "run")
    directory.create(result.directory.read_info().model_copy(update={"state": "running", "pid": 2**22 + 1}))
    write(directory.folder, searched)
    again = resume_search(tmp_path / "run", trainable=Noisy, on_event=interrupt)
    assert (again.state.outcome, again.info.state, again.confirmation) == ("interrupted", "interrupted", None)
    assert resume_search(tmp_path / "run", trainable=Noisy).confirmation is not None


def test_a_search_that_has_ended_is_not_begun_again(
    confirmed: tuple[SearchResult, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = confirmed
    monkeypatch.setattr("orchestrator.search.run.reopen_search", None)
    before = RecordedRun.read(result.directory).events()
    again = resume_search(result.directory.location, trainable=Noisy)
    assert again.state == result.state
    assert RecordedRun.read(result.directory).events() == before


def test_a_search_that_goes_on_is_confirmed_anew_and_keeps_the_trainings(
    confirmed: tuple[SearchResult, str], tmp_path: Path
) -> None:
    result, _ = confirmed
    shutil.copytree(result.directory.location, tmp_path / "run")
    further = resume_search(tmp_path / "run", ["budget.trials=8", "confirmation.candidates=3"], trainable=Noisy)
    assert further.confirmation is not None
    assert further.confirmation.trained == 8
    assert further.state.repeats.keys() > result.state.repeats.keys()
    assert len(further.confirmation.candidates) == 3


@pytest.mark.slow
def test_ctrl_c_leaves_the_winner_to_the_trainings_that_there_are(tmp_path: Path, local_ray: None) -> None:
    events = tmp_path / "run" / "events.jsonl"

    def interrupt_once_the_candidates_are_compared() -> None:
        while not events.exists() or b"candidates_compared" not in events.read_bytes():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_once_the_candidates_are_compared, daemon=True).start()
    settings = SETTINGS | {"confirmation": {"candidates": 5, "trainings": 100, "share": 100}}
    result = run_search(config(**settings), run_dir=tmp_path / "run", trainable=Noisy)
    assert result.state.outcome == "interrupted"
    assert result.confirmation is not None
    assert result.winner is not None
    assert result.directory.best_metrics()["trial_id"] == result.winner.trial_id
    assert result.directory.best_metrics()["winner"] == "confirmed"


@pytest.mark.slow
def test_the_hours_include_the_confirmation(tmp_path: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """After five trials the clock jumps by 35 minutes: the search has half of its hour, the confirmation the rest."""
    events, jump = tmp_path / "run" / "events.jsonl", [0.0]

    def jump_after_five_trials() -> None:
        while not events.exists() or events.read_bytes().count(b"trial_ended") < 5:
            time.sleep(0.02)
        jump[0] = 35 * 60.0

    monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + jump[0]))
    threading.Thread(target=jump_after_five_trials, daemon=True).start()
    settings = {"budget": {"trials": 100_000, "hours": 1}, "confirmation": {"share": 1, "candidates": 2}}
    result = run_search(config(**(SETTINGS | settings)), run_dir=tmp_path / "run", trainable=Noisy)
    assert result.state.outcome == "out_of_time"
    assert 5 <= result.state.counts()["completed"] < 1000
    assert result.confirmation is not None


def test_a_share_that_is_too_small_leaves_the_winner_unconfirmed_and_says_so(tmp_path: Path, local_ray: None) -> None:
    console = Console(file=io.StringIO(), width=200)
    settings = SETTINGS | {"confirmation": {"candidates": 2, "share": 0.5}}
    with console.capture() as capture:
        result = run_search(config(**settings), run_dir=tmp_path / "run", trainable=Noisy, progress=Progress(console))
    assert result.confirmation is None
    assert result.winner is result.state.best
    assert result.directory.best_metrics()["winner"] == "unconfirmed"
    assert "the winner is unconfirmed: confirmation.share = 0.5 of the training time" in capture.get()


@pytest.mark.slow
def test_a_confirmation_whose_driver_is_killed_loses_nothing_and_repeats_nothing(
    tmp_path: Path, lasting_ray: Head
) -> None:
    search = search_file(
        tmp_path,
        budget="{ trials = 4 }",
        scheduler='{ name = "fifo" }',
        confirmation="{ candidates = 3, trainings = 3, share = 10 }",
    )
    pace(tmp_path)
    drivers = Drivers(tmp_path, Searching(search, str(tmp_path / "run")), lasting_ray.environment, seed=3)
    for _ in range(5):
        drivers.kill("--address", lasting_ray.address)
    events = drivers.finish("--address", lasting_ray.address)
    state = RunState.replay(events)
    assert state.outcome == "completed"
    assert state.confirmed is not None
    assert sorted(on_record(events)) == sorted(set(trained(tmp_path)))
    assert all(repeat.status == "completed" and repeat.epochs == 9 for repeat in state.repeats.values())
    drivers.check_repeats(reports=2)


@pytest.mark.slow
def test_a_training_of_a_confirmation_goes_on_after_its_worker_died(tmp_path: Path, local_ray: None) -> None:
    search = search_file(
        tmp_path,
        budget="{ trials = 3 }",
        scheduler='{ name = "fifo" }',
        confirmation="{ candidates = 0 }",
    )
    pace(tmp_path, 0.01)
    run_search(load_config(search), run_dir=tmp_path / "run")
    (tmp_path / "fault-deathonce-0123456789abcdef-4").touch()
    result = resume_search(
        tmp_path / "run", ["confirmation.candidates=2", "confirmation.trainings=2", "confirmation.share=10"]
    )
    assert result.confirmation is not None
    assert sum(len(repeat.set_back) for repeat in result.state.repeats.values()) >= 1
    assert all(repeat.status == "completed" for repeat in result.state.repeats.values())
