"""Whole searches on Ray and their record, with trainables that take no time."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pyarrow.parquet as pq
import pytest
from optuna.samplers import BaseSampler, RandomSampler
from ray.tune.schedulers import AsyncHyperBandScheduler
from rich.console import Console
from safetensors.numpy import load_file

from orchestrator.errors import ClusterError, ConfigError, SearchError
from orchestrator.progress import Progress
from orchestrator.record.event_file import EventFile
from orchestrator.record.event_log import EventLog, read_events
from orchestrator.record.events import EpochDone, TrialStarted, TrialSuggested
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_state import RunState
from orchestrator.record.tables import EPOCHS, TRIALS
from orchestrator.search.run import SearchResult, run_search
from search_spaces import NASNET, SPACES, Architecture
from tests.builders import config
from tests.faking import fill_up
from trainables import EpochTrainable, NetworkSpec
from trainables.costs import network_costs
from trainables.epoch_result import EpochResult
from trainables.skeleton import SKELETONS
from trainables.storage import Folder

pytestmark = pytest.mark.usefixtures("local_ray")


class Scripted(EpochTrainable):
    """Ends as the first operation of its normal cell says: one of `FATES`."""

    FATES = ("fine", "weak", "raises", "diverges")

    def prepare(self, data: Any) -> None:
        pass

    def begin(self, architecture: Architecture) -> dict[str, Any]:
        operation = architecture.normal.blocks[0].edges[0].operation
        self.fate = self.FATES[NASNET.operations.index(operation) % len(self.FATES)]
        self.epoch = 0
        return {"device": "cpu"}

    def train_epoch(self) -> EpochResult:
        time.sleep(0.01)
        self.epoch += 1
        if self.fate == "raises":
            raise RuntimeError("bang\nand a second line")
        loss = math.nan if self.fate == "diverges" else 1.0
        score = {"fine": 0.9, "weak": 0.1}.get(self.fate, 0.8)
        return EpochResult(
            epoch=self.epoch,
            train_loss=loss,
            train_accuracy=score,
            val_loss=1.0,
            val_accuracy=score + self.epoch / 1000,
            learning_rate=0.1,
            seconds=0.01,
            images_per_second=1.0,
            ended_at=time.time(),
        )

    def weights(self) -> bytes:
        from safetensors.numpy import save

        return save({"epoch": np.array([self.epoch])})


@pytest.fixture(scope="module")
def scripted(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """A search whose trials end in every way."""
    return run_search(
        config(budget={"trials": 24}),
        run_dir=tmp_path_factory.mktemp("runs") / "scripted",
        trainable=Scripted,
    )


def test_the_search_ends_at_its_number_of_trials(scripted: SearchResult) -> None:
    assert len(scripted.state.trials) == 24
    assert list(scripted.state.trials) == [f"{number:05d}" for number in range(24)]
    assert scripted.state.outcome == "completed"
    assert "running" not in scripted.state.counts()


def test_every_trial_ends_as_it_should(scripted: SearchResult) -> None:
    expected = {"raises": "failed", "diverges": "diverged", "weak": "pruned"}
    statuses = {trial.status for trial in scripted.state.trials.values()}
    assert statuses == {"completed", "pruned", "failed", "diverged"}
    for trial in scripted.state.trials.values():
        operation = trial.architecture["normal"]["blocks"][0][1]
        fate = Scripted.FATES[NASNET.operations.index(operation) % 4]
        if fate in ("raises", "diverges"):
            assert trial.status == expected[fate]
        if trial.status == "completed":
            assert trial.epochs == 9
        if trial.status == "pruned":
            assert trial.epochs in (1, 3)
        if trial.status == "failed":
            assert trial.error == "RuntimeError: bang"
        if trial.status == "diverged":
            assert trial.error == "a loss or metric is not finite in epoch 1"
            assert trial.curve[-1].train_loss is None


def test_every_epoch_has_its_own_row_and_none_is_missing(scripted: SearchResult) -> None:
    for trial in scripted.state.trials.values():
        assert [row.epoch for row in trial.curve] == list(range(1, trial.epochs + 1))


def test_the_returned_state_is_what_the_log_replays_to(scripted: SearchResult) -> None:
    assert RecordedRun.read(scripted.directory).state() == scripted.state


def test_the_record_is_complete(scripted: SearchResult) -> None:
    folder = Path(scripted.directory.location)
    assert {path.name for path in folder.iterdir()} == {
        "run.json",
        "events.jsonl",
        TRIALS,
        EPOCHS,
        "best",
        "checkpoints",
        "report.html",
    }
    info = scripted.directory.read_info()
    assert info.state == "completed"
    assert info.ended_at is not None
    assert info.seed == 0
    assert info.config["budget"]["trials"] == 24
    assert {"python", "cellscout", "torch", "ray", "optuna"} <= set(info.versions)
    assert info.resources["slots"] == 1
    assert info.data["image_shape"] == [8, 8, 1]
    assert pq.read_table(folder / TRIALS).num_rows == 24
    epochs = sum(trial.epochs for trial in scripted.state.trials.values())
    assert pq.read_table(folder / EPOCHS).num_rows == epochs


def test_the_best_network_can_be_built_from_what_is_left(scripted: SearchResult) -> None:
    best, folder = scripted.state.best, Path(scripted.directory.best.location)
    assert best is not None
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["trial_id"] == best.trial_id
    assert (
        metrics["val_accuracy"]
        == best.val_accuracy
        == max(trial.val_accuracy or 0 for trial in scripted.state.trials.values() if trial.status == "completed")
    )
    architecture = Architecture.from_json(json.loads((folder / "architecture.json").read_text()))
    assert architecture.fingerprint == best.fingerprint
    assert NetworkSpec.from_json(json.loads((folder / "network.json").read_text())).architecture == architecture
    assert load_file(folder / "weights.safetensors")["epoch"] == [9]


def test_what_the_sampler_asked_is_in_the_record(scripted: SearchResult) -> None:
    events = list(read_events(scripted.directory))
    suggested = [event for event in events if isinstance(event, TrialSuggested)]
    assert len(suggested) == 24
    assert all(0 <= event.ask_seconds < 10 for event in suggested)
    for event in suggested:
        assert Architecture.from_json(event.architecture).fingerprint == event.fingerprint


def test_no_more_trials_run_than_there_are_slots(scripted: SearchResult) -> None:
    running = most = 0
    for event in read_events(scripted.directory):
        running += isinstance(event, TrialStarted) - (event.event == "trial_ended")
        most = max(most, running)
    assert 0 < most <= scripted.state.slots


def test_optuna_receives_every_state(tmp_path: Path) -> None:
    class Watching(RandomSampler):
        """Keeps the study that it samples for."""

        study: optuna.Study

        def sample_independent(self, study: optuna.Study, *arguments: Any) -> Any:
            Watching.study = study
            return super().sample_independent(study, *arguments)

    result = run_search(
        config(budget={"trials": 16}), run_dir=tmp_path / "run", trainable=Scripted, sampler=Watching(seed=1)
    )
    states = {"COMPLETE": "completed", "PRUNED": "pruned"}
    *trials, ahead = Watching.study.trials
    assert len(trials) == 16
    assert ahead.state.name == "RUNNING"  # suggested ahead, and never started
    for ours, theirs in zip(result.state.trials.values(), trials, strict=True):
        assert states.get(theirs.state.name, "lost") == ours.status or theirs.state.name == "FAIL"
        assert (theirs.state.name == "FAIL") == (ours.status in ("failed", "diverged"))
        if ours.status in ("completed", "pruned"):
            assert theirs.intermediate_values == {row.epoch: row.val_accuracy for row in ours.curve}


@pytest.mark.slow
def test_one_worker_and_one_seed_give_one_search(tmp_path: Path) -> None:
    runs = [run_search(config(sampler={"name": "tpe"}), run_dir=tmp_path / str(number)) for number in range(2)]
    first, second = (
        [(trial.fingerprint, trial.status, trial.val_accuracy) for trial in run.state.trials.values()] for run in runs
    )
    assert first == second


@pytest.mark.slow
def test_instances_may_stand_in_for_names(tmp_path: Path) -> None:
    from dataclasses import replace

    sampler: BaseSampler = RandomSampler(seed=3)
    scheduler = AsyncHyperBandScheduler(time_attr="epoch", max_t=9, grace_period=1)
    space = replace(NASNET, blocks=2)
    result = run_search(config(), run_dir=tmp_path / "run", sampler=sampler, scheduler=scheduler, space=space)
    assert {len(trial.architecture["normal"]["blocks"]) for trial in result.state.trials.values()} == {2}
    assert len(result.state.trials) == 12


def test_names_of_modules_work_too(tmp_path: Path) -> None:
    result = run_search(
        config(
            sampler={"name": "optuna.samplers:RandomSampler"},
            scheduler={"name": "ray.tune.schedulers:MedianStoppingRule", "options": {"grace_period": 2}},
            space={"name": "search_spaces.nasnet:NASNET", "blocks": 2},
            trainable={"name": "trainables:InstantTrainable"},
        ),
        run_dir=tmp_path / "run",
    )
    assert len(result.state.trials) == 12
    # A scheduler without `milestones` decides at every epoch.
    epochs = [event for event in read_events(result.directory) if isinstance(event, EpochDone)]
    assert epochs


@pytest.mark.slow
def test_the_hours_end_a_search_and_leave_it_unfinished(tmp_path: Path) -> None:
    class Slow(Scripted):
        def train_epoch(self) -> EpochResult:
            time.sleep(0.2)
            return super().train_epoch()

    started = time.monotonic()
    result = run_search(config(budget={"trials": 1000, "hours": 2 / 3600}), run_dir=tmp_path / "run", trainable=Slow)
    assert time.monotonic() - started < 30
    assert result.state.outcome == "out_of_time"
    assert result.directory.read_info().state == "out_of_time"
    assert 0 < result.state.counts()["unfinished"] <= 4
    assert RecordedRun.read(result.directory).state() == result.state


def test_ctrl_c_ends_a_search_with_its_record_whole(tmp_path: Path) -> None:
    events = tmp_path / "run" / "events.jsonl"

    def interrupt_once_a_trial_has_ended() -> None:
        while not events.exists() or b"trial_ended" not in events.read_bytes():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_once_a_trial_has_ended, daemon=True).start()
    handler = signal.getsignal(signal.SIGINT)
    result = run_search(config(budget={"trials": 100_000}), run_dir=tmp_path / "run")
    assert result.state.outcome == "interrupted"
    assert RecordedRun.read(result.directory).state() == result.state
    assert pq.read_table(Path(result.directory.location) / TRIALS).num_rows == len(result.state.trials) > 0
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("moment", ["orchestrator.search.setup.allot", "orchestrator.cluster.images.load_data"])
def test_ctrl_c_before_the_first_trial_ends_at_once_and_leaves_nothing(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception inside Ray's start can crash the process, so Ctrl-C must not raise there."""

    said = io.StringIO()

    def interrupted_connection(address: str | None) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 60
        while "stopping; what has ended is kept\n" not in said.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return contextlib.nullcontext()

    def slow_load(settings: Any, seed: int) -> Any:
        time.sleep(8)

    if moment == "orchestrator.search.setup.allot":
        monkeypatch.setattr("orchestrator.search.setup.connected", interrupted_connection)
    else:
        monkeypatch.setattr(moment, slow_load)
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_search(config(), run_dir=tmp_path / "run", progress=Progress(Console(file=said)))
    assert time.monotonic() - started < 30
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_search_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = EventLog.append

    def full_after_a_while(log: EventLog, *events: Any) -> None:
        if any(event.event == "trial_suggested" and event.trial_id == "00005" for event in events):
            assert isinstance(log._writer, EventFile)
            fill_up(log._writer)
        append(log, *events)

    monkeypatch.setattr(EventLog, "append", full_after_a_while)
    with pytest.raises(SearchError, match=r"events.jsonl cannot be written: No space left on device \(run.storage\)"):
        run_search(config(), run_dir=tmp_path / "run")
    assert len(RunState.replay(read_events(Folder.at(tmp_path / "run"))).trials) == 5


@pytest.mark.slow
def test_a_best_network_that_cannot_be_written_ends_the_search_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray Tune catches the exception as if the trial had failed."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("orchestrator.record.run_directory.RunDirectory.write_best", full)
    with pytest.raises(SearchError, match=r"best cannot be written: No space left on device \(run.storage\)"):
        run_search(config(budget={"trials": 1000}, scheduler={"name": "asha_promotion"}), run_dir=tmp_path / "run")
    assert len(RunState.replay(read_events(Folder.at(tmp_path / "run"))).trials) < 200


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ({"resources": {"gpus_per_trial": 1.0}}, ClusterError, "a trial asks for 1 CPU and 1 GPU, but the largest"),
        ({"resources": {"cpus_per_trial": 64}}, ClusterError, "a trial asks for 64 CPUs"),
        ({"data": {"name": "fashion_mnist", "root": "absent"}}, ConfigError, "absent. is not a folder"),
        (
            {"data": {"validation_fraction": 0.001}},
            ConfigError,
            "data.validation_fraction = 0.001 leaves a part without",
        ),
        (
            {"training": {"epochs": 9, "auxiliary_weight": 0.4}, "trainable": {"name": "cell"}},
            ConfigError,
            "the auxiliary head would get 4x4 pixels and needs 5x5",
        ),
        (
            {"network": {"skeleton": "json:dumps"}},
            ConfigError,
            "network.skeleton is 'json:dumps', which is not a Skeleton",
        ),
        ({"data": {"name": "json:loads"}}, ConfigError, "data.name = 'json:loads' raised TypeError"),
        ({"sampler": {"name": "tpe", "options": {"no": 1}}}, ConfigError, "sampler.options = .*unexpected keyword"),
        ({"sampler": {"name": "json:dumps"}}, ConfigError, "sampler.options"),
        ({"sampler": {"name": "builtins:dict"}}, ConfigError, "which is not an optuna.samplers.BaseSampler"),
        ({"scheduler": {"name": "builtins:dict"}}, ConfigError, "which is not a Ray Tune TrialScheduler"),
        ({"scheduler": {"name": "asha", "options": {"a": 1}}}, ConfigError, "unexpected keyword argument 'a'"),
        ({"space": {"name": "json:dumps"}}, ConfigError, "which is not a CellSpace"),
        ({"trainable": {"name": "json:dumps"}}, ConfigError, "which is not an EpochTrainable"),
    ],
)
def test_settings_that_cannot_work_are_refused_and_leave_no_files(
    sections: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message) as caught:
        run_search(config(**sections), run_dir=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_every_space_can_be_searched(name: str, tmp_path: Path) -> None:
    """Trains a real network, measures its latency, and checks the record and the best network."""
    result = run_search(
        config(
            space={"name": name},
            network={"repeats": 1, "filters": 4},
            data={"limit": 200, "validation_fraction": 0.3},
            training={"epochs": 1},
            trainable={"name": "cell", "measure_latency": True},
            budget={"trials": 1},
        ),
        run_dir=tmp_path / "run",
    )
    assert result.state.counts()["completed"] == 1
    best = tmp_path / "run" / "best"
    spec = NetworkSpec.from_json(json.loads((best / "network.json").read_text()))
    assert spec.skeleton == SKELETONS[SPACES[name].skeleton]
    costs = network_costs(spec)
    rows = pq.read_table(tmp_path / "run" / TRIALS).to_pylist()
    (row,) = [row for row in rows if row["fingerprint"] == spec.architecture.fingerprint]
    assert (row["parameters"], row["macs"]) == (costs.parameters, costs.macs)
    assert all(row["latency_seconds"] > 0 for row in rows)
    assert sum(tensor.size for name, tensor in load_file(best / "weights.safetensors").items()) > costs.parameters
