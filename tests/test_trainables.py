"""The trainables as Ray Tune sees them, without Ray: `setup`, `step`, `reset_config`, checkpoints."""

from __future__ import annotations

import pickle
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
import torch
from safetensors.numpy import load

from search_spaces import Architecture
from tests.stepping import PLAN, Paced, candidate, config, epochs, reports
from trainables import TRAINABLES, CellTrainable, EpochTrainable, InstantTrainable, TrialPlan, epoch_trainable
from trainables.assignment import Resample
from trainables.checkpoints import CheckpointFolder
from trainables.command_folder import CommandFolder
from trainables.datasets import DataSplits, load_data
from trainables.epoch_result import EpochResult
from trainables.faults import CandidateFault
from trainables.network import CellNetwork
from trainables.settings import DataSettings, NetworkSettings, TrainingSettings
from trainables.storage import Folder
from trainables.training import Training


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pass the data itself instead of a Ray reference."""
    data = load_data(DataSettings(limit=150, validation_fraction=0.3), seed=0)
    monkeypatch.setattr(ray, "get", lambda reference: data)
    monkeypatch.setattr(ray, "get_gpu_ids", list)


@pytest.fixture(autouse=True)
def keep_threads() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def checkpoint_every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_trainable, "MIN_CHECKPOINT_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def report_at_milestones_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is; one test sets this itself."""
    monkeypatch.setattr(epoch_trainable, "STEP_SECONDS", 600.0)


Make = Callable[..., EpochTrainable]


@pytest.fixture
def make() -> Make:
    def build(
        kind: type[EpochTrainable] = CellTrainable, plan: TrialPlan = PLAN, seed: int = 0, **assignment: Any
    ) -> EpochTrainable:
        trainable = kind.__new__(kind)  # Ray's constructor needs a cluster
        trainable.setup(config(seed, **assignment), plan=plan, data=[None])
        return trainable

    return build


def test_short_epochs_are_reported_together_but_never_past_a_milestone(make: Make) -> None:
    assert [epochs(report) for report in reports(make(Paced))] == [[1], [2, 3], [4, 5, 6, 7, 8, 9]]


def test_without_milestones_every_epoch_is_reported_alone(make: Make) -> None:
    found = reports(make(Paced, replace(PLAN, milestones=None)))
    assert [epochs(report) for report in found] == [[number] for number in range(1, 10)]


def test_long_epochs_are_reported_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Paced, "seconds", 0.04)
    monkeypatch.setattr("trainables.epoch_trainable.STEP_SECONDS", 0.1)
    found = reports(make(Paced, replace(PLAN, milestones=())))
    assert [number for report in found for number in epochs(report)] == list(range(1, 10))
    assert {len(report["curve"]) for report in found[:-1]} <= {1, 2}


def test_a_loss_that_is_not_finite_ends_the_trial_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Paced, "diverges_at", 5)
    last = reports(make(Paced))[-1]
    assert last["diverged"]
    assert epochs(last) == [4, 5]


def test_further_metrics_must_be_declared(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Paced, "metrics", ("margin",))
    with pytest.raises(
        CandidateFault, match=r"ValueError: epoch 1 has the metrics \[\]; Paced.metrics declares \['margin'\]"
    ):
        make(Paced).step()


@pytest.mark.parametrize("kind", TRAINABLES.values())
def test_every_trainable_reports_what_a_search_needs(kind: type[EpochTrainable], make: Make) -> None:
    found = reports(make(kind))
    assert [number for report in found for number in epochs(report)] == list(range(1, 10))
    for report in found:
        assert set(report["facts"]) == {"device"}
        assert 0 <= report["val_accuracy"] <= 1
        assert report["epoch"] == report["curve"][-1]["epoch"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"epoch": 2}, "Paced.train_epoch returned epoch 2; the next epoch is 1"),
    ({"ended_at": 1000 * time.time()}, r"ended_at of epoch 1 is \d{13}; it must be within a day of time.time\(\)"),
    ({"ended_at": 12.5}, "ended_at of epoch 1 is 12; it must be within a day"),
    ({"val_accuracy": 93.5}, r"val_accuracy of epoch 1 is 93.5; it must be 0 to 1 \(Paced.score_bounds\)"),
    ({"train_accuracy": -0.1}, "train_accuracy of epoch 1 is -0.1; it must be 0 to 1"),
]


@pytest.mark.parametrize(("values", "message"), WRONG, ids=[str(list(values)) for values, _ in WRONG])
def test_a_wrong_result_is_an_error_of_its_trial(
    values: dict[str, Any], message: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Paced.train_epoch
    monkeypatch.setattr(Paced, "train_epoch", lambda self: replace(train(self), **values))
    with pytest.raises(CandidateFault, match=f"^ValueError: {message}") as caught:
        make(Paced).step()
    assert caught.value.kind == "error"


def test_an_epoch_that_is_numbered_again_is_an_error_of_its_trial(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    train = Paced.train_epoch
    monkeypatch.setattr(Paced, "train_epoch", lambda self: replace(train(self), epoch=1))
    trainable = make(Paced, replace(PLAN, milestones=None))
    trainable.step()
    with pytest.raises(CandidateFault, match="Paced.train_epoch returned epoch 1; the next epoch is 2"):
        trainable.step()


@pytest.mark.parametrize(("bounds", "score"), [((0.0, 100.0), 93.5), (None, 1e6), (None, -3.0)])
def test_a_score_is_accepted_within_the_stated_bounds(
    bounds: tuple[float, float] | None, score: float, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Paced.train_epoch
    monkeypatch.setattr(Paced, "score_bounds", bounds)
    monkeypatch.setattr(Paced, "train_epoch", lambda self: replace(train(self), val_accuracy=score))
    assert make(Paced).step()["val_accuracy"] == score


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, r"Paced.begin returned \[\]; it must return 'device'"),
        (None, "Paced.begin returned None"),
        ({"device": 0}, "Paced.begin returned the device 0; text is needed"),
        ({"device": "cpu", "memory": 3}, r"Paced.begin returned \['device', 'memory'\]"),
        ({"device": "cpu", "latency_seconds": float("nan")}, "Paced.begin returned latency_seconds = nan"),
    ],
)
def test_facts_that_the_record_cannot_hold_are_an_error_of_the_trial(
    facts: Any, message: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Paced, "begin", lambda self, architecture: facts)
    with pytest.raises(CandidateFault, match=message):
        make(Paced).step()


def test_a_latency_that_is_asked_for_must_be_there(make: Make) -> None:
    with pytest.raises(CandidateFault, match="Paced.begin returned .'device'.; .* 'latency_seconds'"):
        make(Paced, replace(PLAN, measure_latency=True)).step()


def test_an_error_in_the_first_candidate_of_a_worker_is_reported_by_its_first_step(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would report an exception in `setup` as the death of the worker, and the trial would be tried again."""

    def fails(self: Paced, architecture: Architecture) -> dict[str, Any]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Paced, "begin", fails)
    trainable = make(Paced)
    with pytest.raises(CandidateFault, match="OutOfMemoryError: CUDA out of memory") as caught:
        trainable.step()
    assert caught.value.kind == "out_of_memory"
    monkeypatch.undo()


def test_a_trainable_runs_in_the_folder_of_the_command(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "settings.txt").write_text("7")
    monkeypatch.chdir(tmp_path)
    home = CommandFolder.here()
    monkeypatch.chdir("/")
    read: list[str] = []
    monkeypatch.setattr(Paced, "prepare", lambda self, data: read.append(Path("settings.txt").read_text()))
    make(Paced, replace(PLAN, home=home))
    assert read == ["7"]


class Prepared(Paced):
    """Notes the seed and the sizes of the parts at each `prepare`."""

    given: tuple[tuple[int, int, int], ...] = ()

    def prepare(self, data: DataSplits) -> None:
        self.given = (*self.given, (self.plan.seed, len(data.train), len(data.validation)))


def test_in_an_evaluation_a_worker_prepares_the_images_and_the_seed_of_each_training(make: Make) -> None:
    first, second = Resample(seed=7, split="fold", folds=3, fold=0), Resample(seed=8, split="fold", folds=3, fold=0)
    trainable = make(Prepared)
    assert isinstance(trainable, Prepared)
    for resample in (first, first, second, None):
        trainable.reset_config(config(0, resample=resample))
    assert trainable.given == ((0, 105, 45), (7, 100, 50), (8, 100, 50), (0, 105, 45))


def test_the_seed_and_the_fold_of_an_evaluation_decide_what_is_trained(make: Make) -> None:
    def score(seed: int, fold: int) -> float:
        trainable = make(CellTrainable, replace(PLAN, training=TrainingSettings(epochs=1, batch_size=32)))
        trainable.reset_config(config(0, resample=Resample(seed=seed, split="fold", folds=3, fold=fold)))
        return float(trainable.step()["val_loss"])

    assert score(7, 0) == score(7, 0)
    assert len({score(7, 0), score(7, 1), score(8, 0)}) == 3


@pytest.fixture
def kept(tmp_path: Path) -> TrialPlan:
    """The plan of a search that writes checkpoints."""
    return replace(PLAN, checkpoints=CheckpointFolder(Folder.at(tmp_path)))


def untimed(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The epochs of reports, without timing."""
    timing = ("seconds", "images_per_second", "ended_at")
    return [{name: row[name] for name in row if name not in timing} for report in found for row in report["curve"]]


def interrupted(trainable: Any, steps: int) -> None:
    """Train this many steps and wait until the last checkpoint is written."""
    for _ in range(steps):
        trainable.step()
    trainable._writer.wait()


@pytest.mark.parametrize("kind", TRAINABLES.values())
def test_every_trainable_continues_from_its_checkpoint(kind: type[EpochTrainable], make: Make, kept: TrialPlan) -> None:
    uninterrupted = untimed(reports(make(kind)))
    interrupted(make(kind, kept), steps=2)
    rest = reports(make(kind, kept, epochs_on_record=3))
    assert untimed(rest) == uninterrupted[3:]


def test_a_paused_trial_continues_after_the_last_reported_epoch(make: Make, kept: TrialPlan, tmp_path: Path) -> None:
    first: Any = make(InstantTrainable, kept)
    first.step()
    (tmp_path / "pause").mkdir()
    first.save_checkpoint(str(tmp_path / "pause"))
    second: Any = make(InstantTrainable, kept)  # its assignment is from before the first epoch was recorded
    second.load_checkpoint(str(tmp_path / "pause"))
    assert epochs(second.step()) == [2, 3]


def test_epochs_that_take_no_time_are_checkpointed_only_at_a_pause(
    make: Make, kept: TrialPlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(epoch_trainable, "MIN_CHECKPOINT_SECONDS", 100.0)
    trainable: Any = make(InstantTrainable, kept)
    interrupted(trainable, steps=2)
    assert not (tmp_path / "00000").exists()
    (tmp_path / "pause").mkdir()
    trainable.save_checkpoint(str(tmp_path / "pause"))
    assert (tmp_path / "00000" / "00003.json").exists()


def test_epochs_that_the_record_lost_are_reported_again_and_not_trained(make: Make, kept: TrialPlan) -> None:
    interrupted(make(Paced, kept), steps=1)  # has no state
    assert epochs(make(Paced, kept, epochs_on_record=1).step()) == [1]
    interrupted(make(InstantTrainable, kept), steps=2)
    second: Any = make(InstantTrainable, kept, epochs_on_record=0)
    assert [epochs(second.step()) for _ in range(2)] == [[1], [2, 3]]
    assert second._epoch == 3
    assert epochs(second.step()) == [4, 5, 6, 7, 8, 9]


def test_a_checkpoint_of_another_candidate_is_ignored(make: Make, kept: TrialPlan) -> None:
    interrupted(make(InstantTrainable, kept, seed=1, trial_id="00000"), steps=2)
    assert epochs(make(InstantTrainable, kept, seed=2, trial_id="00000").step()) == [1]


def test_a_corrupt_checkpoint_is_skipped_for_the_previous_one(make: Make, kept: TrialPlan, tmp_path: Path) -> None:
    interrupted(make(InstantTrainable, kept), steps=2)
    newest = tmp_path / "00000" / "00003.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    second: Any = make(InstantTrainable, kept, epochs_on_record=3)
    assert epochs(second.step()) == [2, 3]
    second._writer.wait()
    newest.unlink()
    assert epochs(make(InstantTrainable, kept, epochs_on_record=3).step()) == [2, 3]


def test_checkpoints_and_weights_are_plain_tensors_and_json(make: Make, kept: TrialPlan, tmp_path: Path) -> None:
    trainable = make(plan=kept)
    interrupted(trainable, steps=2)
    names = sorted(path.name for path in (tmp_path / "00000").iterdir())
    assert names == ["00001.json", "00001.safetensors", "00003.json", "00003.safetensors"]
    assert "epoch" in load((tmp_path / "00000" / "00003.safetensors").read_bytes())
    reports(trainable)
    assert load((tmp_path / "00000" / "weights.safetensors").read_bytes())


def test_a_full_disk_is_a_storage_fault_and_not_the_candidates(
    make: Make, kept: TrialPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Folder, "write", full)
    trainable = make(InstantTrainable, kept)
    trainable.step()
    with pytest.raises(CandidateFault, match="a checkpoint cannot be written: OSError: .*No space left") as caught:
        trainable.step()
    assert caught.value.kind == "storage"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out_of_memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out_of_memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), "out_of_memory"),
        (RuntimeError("FIND was unable to find an engine to execute this computation"), "out_of_memory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "error"),
    ],
)
def test_out_of_memory_is_distinguished_from_other_errors(
    error: Exception, kind: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Paced) -> EpochResult:
        raise error

    monkeypatch.setattr(Paced, "train_epoch", fails)
    with pytest.raises(CandidateFault, match=type(error).__name__) as caught:
        make(Paced).step()
    assert caught.value.kind == kind
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


def test_a_draining_node_trains_no_further_epoch(make: Make, kept: TrialPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    trainable: Any = make(InstantTrainable, kept)
    trainable.step()
    monkeypatch.setattr("trainables.epoch_trainable.node_is_draining", lambda: True)
    with pytest.raises(CandidateFault, match="its node is about to be removed") as caught:
        trainable.step()
    assert caught.value.kind == "preempted"
    assert trainable._epoch == 1
    assert kept.checkpoints is not None
    newest = kept.checkpoints.newest("00000", trainable._fingerprint)
    assert newest is not None
    assert newest.epoch == 1


def test_a_report_has_the_networks_costs_and_device(make: Make) -> None:
    architecture = PLAN.space.decode(candidate(0))
    spec = PLAN.network_spec(architecture)
    report = make(costs=PLAN.costs(architecture)).step()
    assert report["parameters"] == sum(parameter.numel() for parameter in CellNetwork(spec).parameters())
    assert report["facts"]["device"] == "cpu"


def test_measuring_the_latency_on_request_does_not_change_the_training(make: Make) -> None:
    measured = make(plan=replace(PLAN, measure_latency=True))
    seconds = measured._facts["latency_seconds"]
    assert 0 < seconds < 10
    assert "latency_seconds" not in make()._facts
    assert untimed(reports(measured)) == untimed(reports(make()))


def test_the_weights_fit_the_network_that_the_spec_describes(make: Make, kept: TrialPlan) -> None:
    from safetensors.torch import load as load_tensors

    make(plan=replace(kept, training=TrainingSettings(epochs=1, batch_size=32))).step()
    assert kept.checkpoints is not None
    network = CellNetwork(PLAN.network_spec(PLAN.space.decode(candidate(0))))
    network.load_state_dict(load_tensors(kept.checkpoints.weights("00000")))


def test_a_reused_worker_trains_the_next_candidate_as_a_fresh_one_would(make: Make) -> None:
    reused = make(seed=1)
    reused.step()
    assert reused.reset_config(config(2))
    ours, fresh = reused.step(), make(seed=2).step()
    assert ours["facts"] == fresh["facts"]
    assert ours["train_loss"] == fresh["train_loss"]
    assert ours["epoch"] == 1


def test_a_late_checkpoint_of_a_stopped_candidate_is_no_fault_of_the_next(kept: TrialPlan, make: Make) -> None:
    """The folder of a stopped trial is removed after two seconds, even if a slow disk still writes."""
    reused: Any = make(seed=1, plan=kept)
    reused._writer._writing = Future()
    reused._writer._writing.set_exception(FileNotFoundError("00001.safetensors.tmp"))
    assert reused.reset_config(config(2))
    assert reused.step()["epoch"] == 1


def test_the_previous_candidate_is_freed_before_the_next_is_built(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trainable: Any = make(seed=1)
    trainable.step()
    old = [weakref.ref(value) for value in (trainable._training, trainable._training.network)]
    alive_when_built: list[bool] = []

    def build(*arguments: Any, **settings: Any) -> Training:
        alive_when_built.extend(reference() is not None for reference in old)
        return Training(*arguments, **settings)

    monkeypatch.setattr("trainables.training.Training", build)
    trainable.reset_config(config(2))
    assert alive_when_built == [False, False]


def test_the_cpus_that_ray_allots_are_the_threads(make: Make) -> None:
    make(plan=replace(PLAN, threads=1))
    assert torch.get_num_threads() == 1


@pytest.mark.slow
def test_fifty_candidates_in_one_worker_leave_its_memory_flat(make: Make) -> None:
    process = psutil.Process()
    plan = replace(PLAN, network=NetworkSettings(repeats=1, filters=16))
    trainable = make(plan=plan)
    used = []
    for seed in range(50):
        trainable.reset_config(config(seed))
        trainable.step()
        used.append(process.memory_info().rss / 2**20)
    early, late = np.median(used[10:20]), np.median(used[40:50])
    assert late - early < 25, f"grew from {early:.0f} to {late:.0f} MiB"


def test_the_architecture_alone_decides_the_made_up_curve(make: Make) -> None:
    plan = replace(PLAN, milestones=())
    first, again = (reports(make(InstantTrainable, plan, seed=3))[-1] for _ in range(2))
    other = reports(make(InstantTrainable, plan, seed=4))[-1]
    assert first["val_accuracy"] == again["val_accuracy"] != other["val_accuracy"]
    scores = [row["val_accuracy"] for row in first["curve"]]
    assert scores == sorted(scores)
