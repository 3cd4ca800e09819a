"""Training a network in full: weight average, early stopping, held-out images, resuming."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn

from search_spaces import NASNET_A
from tests.records import facts
from trainables.baseline_spec import BaselineSpec
from trainables.baselines import BaselineNetwork
from trainables.checkpoints import CheckpointFolder
from trainables.datasets import DataSplits, load_data
from trainables.early_stopping import best_epoch, is_stalled
from trainables.epoch_result import EpochResult
from trainables.network_spec import NetworkSpec
from trainables.retraining import Retraining, RetrainingPlan, count_costs, score_on_test
from trainables.retraining_job import RetrainingJob, run_job
from trainables.settings import DataSettings, TrainingSettings
from trainables.storage import Folder
from trainables.threads import Pace, _seconds, use_threads
from trainables.weight_average import WeightAverage

CPU = torch.device("cpu")
SMALL = BaselineSpec(baseline="two_convolutions", classes=10, image_channels=1, image_size=(8, 8))
CELLS = NetworkSpec(
    architecture=NASNET_A,
    repeats=1,
    filters=2,
    classes=10,
    image_channels=1,
    image_size=(8, 8),
    drop_path_probability=0.2,
    dropout=0.2,
)
DROPPING = BaselineSpec(baseline="squeezenet1_1", classes=10, image_channels=1, image_size=(8, 8))


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return load_data(DataSettings(limit=200, validation_fraction=0.3), seed=0)


def plan(spec: Any = SMALL, patience: int | None = None, average_decay: float = 0.0, **training: Any) -> RetrainingPlan:
    settings = TrainingSettings(**{"epochs": 4, "batch_size": 32, **training})
    return RetrainingPlan(spec=spec, training=settings, patience=patience, average_decay=average_decay)


def scores(*accuracies: float) -> list[EpochResult]:
    return [
        EpochResult(
            epoch=epoch,
            train_loss=1.0,
            train_accuracy=0.5,
            val_loss=1.0,
            val_accuracy=accuracy,
            learning_rate=0.1,
            seconds=1.0,
            images_per_second=1.0,
            ended_at=0.0,
        )
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]


def test_the_average_follows_its_formula() -> None:
    network = nn.BatchNorm1d(1)
    network.weight.data.fill_(0.0)
    average = WeightAverage(network, 0.5)
    expected = 0.0
    for step, (value, mean) in enumerate([(1.0, 2.0), (2.0, 4.0), (4.0, 8.0), (0.0, 1.0)] * 6):
        network.weight.data.fill_(value)
        assert network.running_mean is not None
        assert network.num_batches_tracked is not None
        network.running_mean.fill_(mean)
        network.num_batches_tracked.fill_(step)
        average.update()
        average.copy_counts()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        assert average.network.weight.item() == pytest.approx(expected)
    assert average.network.num_batches_tracked is not None
    assert average.network.num_batches_tracked.item() == 23
    assert network.weight.item() == 0.0
    other = WeightAverage(nn.BatchNorm1d(1), 0.5)
    other.load_state(average.state())
    assert (other.steps, other.network.weight.item()) == (24, average.network.weight.item())


def test_the_average_is_scored_and_kept(splits: DataSplits) -> None:
    averaged, plain = (
        Retraining(plan(patience=9, average_decay=decay), splits, seed=0, device=CPU) for decay in (0.9, 0.0)
    )
    first, second = averaged.train_epoch(), plain.train_epoch()
    assert first.train_loss == second.train_loss
    assert first.val_loss != second.val_loss
    assert score_on_test(plan(), averaged.weights(), splits) != score_on_test(plan(), plain.weights(), splits)


@pytest.mark.parametrize(
    ("accuracies", "best", "stalled"),
    [((), 0, False), ((0.5,), 1, False), ((0.5, 0.6, 0.6), 2, False), ((0.5, 0.6, 0.6, 0.1), 2, True)],
)
def test_a_training_stalls_after_patience_epochs_without_a_better_one(
    accuracies: tuple[float, ...], best: int, stalled: bool
) -> None:
    curve = scores(*accuracies)
    assert (best_epoch(curve), is_stalled(curve, patience=2)) == (best, stalled)


def test_early_stopping_keeps_the_best_epochs_weights(splits: DataSplits) -> None:
    unchanging = plan(
        patience=2, epochs=50, learning_rate=1e-9, momentum=0.0
    )  # nothing is learned, so no epoch is better
    run = Retraining(unchanging, unchanging.images(splits), seed=0, device=CPU)
    weights = []
    while not run.is_over:
        run.train_epoch()
        weights.append(run.weights())
    assert best_epoch(run.curve) == len(run.curve) - 2 < 50
    assert weights[-1] == weights[best_epoch(run.curve) - 1]


def test_without_early_stopping_the_validation_images_are_trained_on_too(splits: DataSplits) -> None:
    whole, held_out = plan().images(splits), plan(patience=3).images(splits)
    assert len(whole.train) == len(splits.train) + len(splits.validation)
    assert (len(whole.validation), held_out) == (0, splits)
    assert whole.mean == pytest.approx(whole.train.images.mean(axis=(0, 1, 2)))
    assert whole.test is splits.test
    result = Retraining(plan(), whole, seed=0, device=CPU).train_epoch()
    assert math.isnan(result.val_loss)
    assert math.isnan(result.val_accuracy)
    assert result.train_loss > 0


@pytest.mark.parametrize("spec", [SMALL, CELLS, DROPPING], ids=["baseline", "cells", "torchvision's dropout"])
@pytest.mark.parametrize(("patience", "decay"), [(None, 0.0), (2, 0.9)])
def test_a_retraining_continues_bit_for_bit(spec: Any, patience: int | None, decay: float, splits: DataSplits) -> None:
    wanted = plan(spec, patience, decay, crop_padding=1, learning_rate=0.01)
    images = wanted.images(splits)
    whole = Retraining(wanted, images, seed=3, device=CPU)
    for _ in range(3):
        whole.train_epoch()
    before = Retraining(wanted, images, seed=3, device=CPU)
    before.train_epoch()
    torch.manual_seed(17)  # the global generator must not matter
    after = Retraining(wanted, images, seed=3, device=CPU)
    after.load_state(before.state(), before.curve)
    for _ in range(2):
        after.train_epoch()
    assert [facts(result) for result in after.curve] == [facts(result) for result in whole.curve]
    assert after.weights() == whole.weights()


def test_a_test_score_is_measured_on_the_test_images(splits: DataSplits) -> None:
    wanted = plan()
    images = wanted.images(splits)
    run = Retraining(wanted, images, seed=0, device=CPU)
    while not run.is_over:
        run.train_epoch()
    found = score_on_test(wanted, run.weights(), images)
    weights = load(run.weights())
    network = BaselineNetwork(SMALL).eval()
    network.load_state_dict(weights)
    pixels = (images.test.images - np.array(images.mean, np.float32)) / np.array(images.deviation, np.float32)
    with torch.no_grad():
        logits = network(torch.tensor(pixels, dtype=torch.float32).permute(0, 3, 1, 2))
    answers = torch.tensor(images.test.labels)
    assert found.accuracy == pytest.approx((logits.argmax(1) == answers).double().mean().item())
    assert found.loss == pytest.approx(nn.functional.cross_entropy(logits, answers).item(), rel=1e-4)
    assert (found.device, found.latency_seconds > 0) == ("cpu", True) or torch.cuda.is_available()


def test_weights_of_another_network_are_refused(splits: DataSplits) -> None:
    weights = Retraining(plan(), splits, seed=0, device=CPU).weights()
    for others in (CELLS, replace(SMALL, classes=3)):
        with pytest.raises(ValueError, match="the weights are those of another network"):
            score_on_test(plan(others), weights, splits)
    with pytest.raises(ValueError, match="the weights are those of another network"):
        score_on_test(plan(), b"nothing", splits)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_compiled_network_learns_the_same(splits: DataSplits) -> None:
    plain = plan(learning_rate=0.01)
    runs = [
        Retraining(replace(plain, compiled=compiled), plain.images(splits), seed=0, device=CPU)
        for compiled in (False, True)
    ]
    for _ in range(2):
        alone, compiled = (run.train_epoch() for run in runs)
        assert compiled.train_loss == pytest.approx(alone.train_loss, rel=1e-3)
    weights = [load(run.weights()) for run in runs]
    assert weights[0].keys() == weights[1].keys()  # without the prefixes that wrappers add


def test_costs_exclude_the_auxiliary_head() -> None:
    with_head = replace(CELLS, image_size=(32, 32), auxiliary_head=True)
    assert count_costs(with_head) == count_costs(replace(with_head, auxiliary_head=False))
    assert count_costs(SMALL)[0] == sum(
        value.numel() for value in load(Retraining(plan(), _blank(), seed=0, device=CPU).weights()).values()
    )


def _blank() -> DataSplits:
    return load_data(DataSettings(limit=100), seed=0)


def test_the_number_of_threads_is_given_or_the_fastest(splits: DataSplits, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr("trainables.threads._seconds", lambda plan, images, threads: {1: 2.0, 3: 4.0, 8: 1.0}[threads])
    assert use_threads(plan(), splits, 3) == Pace(3, 4.0)
    assert used == [3]
    assert use_threads(plan(), splits, None) == Pace(8, 1.0)
    assert used == [3, 8]
    monkeypatch.setattr("trainables.threads.select_device", lambda: torch.device("cuda"))
    assert use_threads(plan(), splits, None) is None


def test_steps_are_timed_on_one_batch_and_keep_nothing(splits: DataSplits) -> None:
    before = torch.get_num_threads()
    assert 0 < _seconds(plan(), splits, before) < 60
    assert torch.get_num_threads() == before


class StoppedInThird:
    """A listener whose user asks to stop within the third epoch."""

    def __init__(self, wants_to_stop: bool) -> None:
        self.results: list[EpochResult] = []
        self.begun_after = 0
        self.wants_to_stop = wants_to_stop
        self.kept_epoch: int | None = None

    def begun(self, curve: Sequence[EpochResult]) -> None:
        self.begun_after = len(curve)

    def is_stopped(self) -> bool:
        return self.wants_to_stop and len(self.results) == 2

    def trained(self, result: EpochResult) -> bool:
        self.results.append(result)
        return False

    def ended(self, kept_epoch: int | None) -> None:
        self.kept_epoch = kept_epoch


def test_an_epoch_is_given_up_and_the_training_goes_on_before_it(
    splits: DataSplits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.training.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("trainables.retraining_job.CHECKPOINT_SECONDS", 0.0)
    job, whole = (
        RetrainingJob(
            plan=plan(),
            seed=0,
            fingerprint="same",
            checkpoints=CheckpointFolder(Folder.at(tmp_path / name)),
        )
        for name in ("stopped", "whole")
    )
    stopped, resumed, undisturbed = (StoppedInThird(wants_to_stop) for wants_to_stop in (True, False, False))
    run_job(job, splits, stopped, device=CPU)
    assert (len(stopped.results), stopped.kept_epoch) == (2, None)
    run_job(job, splits, resumed, device=CPU)
    run_job(whole, splits, undisturbed, device=CPU)
    assert resumed.begun_after == 2
    losses = [result.train_loss for result in (*stopped.results, *resumed.results)]
    assert losses == [result.train_loss for result in undisturbed.results]
