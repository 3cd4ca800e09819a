from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces import NASNET, NASNET_A
from trainables.datasets import load_data
from trainables.loader import DeviceData
from trainables.network_spec import NetworkSpec
from trainables.schedule import learning_rate
from trainables.settings import DataSettings, TrainingSettings
from trainables.training import Training

SPEC = NetworkSpec(architecture=NASNET_A, repeats=1, filters=4, classes=10, image_channels=1, image_size=(8, 8))


@pytest.fixture(scope="module")
def data() -> DeviceData:
    return DeviceData(load_data(DataSettings(limit=400, validation_fraction=0.25), seed=0), torch.device("cpu"))


def training(data: DeviceData, spec: NetworkSpec = SPEC, seed: int = 0, **settings: Any) -> Training:
    return Training(spec, TrainingSettings(**{"epochs": 3, "batch_size": 32, **settings}), data, seed=seed)


def facts(result: Any) -> tuple[float, ...]:
    return (result.epoch, result.train_loss, result.train_accuracy, result.val_loss, result.val_accuracy)


def test_a_network_learns(data: DeviceData) -> None:
    run = training(data, epochs=6)
    results = [run.train_epoch() for _ in range(6)]
    assert [result.epoch for result in results] == [1, 2, 3, 4, 5, 6]
    assert results[-1].val_accuracy > 0.8
    assert results[-1].train_loss < 0.5 * results[0].train_loss
    assert all(result.seconds > 0 and result.images_per_second > 0 for result in results)


@pytest.mark.parametrize(("batch_size", "sizes"), [(32, [32] * 9), (512, [300])])
def test_an_epoch_trains_on_each_image_at_most_once_in_batches_of_one_size(
    data: DeviceData, batch_size: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    batch = data.train.batch

    def spy(indices: torch.Tensor, *others: Any) -> Any:
        seen.append(indices.clone())
        return batch(indices, *others)

    monkeypatch.setattr(data.train, "batch", spy)
    training(data, batch_size=batch_size).train_epoch()
    assert [len(indices) for indices in seen] == sizes
    assert len(torch.cat(seen).unique()) == sum(sizes)


REGULARISED = {"drop_path_probability": 0.3, "dropout": 0.3}


@pytest.mark.parametrize("regularised", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_same_seed_gives_the_same_curve(data: DeviceData, regularised: bool) -> None:
    spec = replace(SPEC, **REGULARISED) if regularised else SPEC  # type: ignore[arg-type]
    settings = {"crop_padding": 1, "flip": True, "cutout": 2} if regularised else {}
    curves = []
    for noise in (1, 2):
        torch.manual_seed(noise)  # the global generator must not matter
        run = training(data, spec, seed=5, **settings)
        curves.append([facts(run.train_epoch()) for _ in range(2)])
    assert curves[0] == curves[1]
    other = training(data, spec, seed=6, **settings)
    assert facts(other.train_epoch()) != curves[0][0]


def test_building_and_training_do_not_use_the_global_generator(data: DeviceData) -> None:
    before = torch.get_rng_state()
    training(data, replace(SPEC, **REGULARISED)).train_epoch()  # type: ignore[arg-type]
    assert torch.equal(before, torch.get_rng_state())


def test_a_training_continues_bit_for_bit(data: DeviceData) -> None:
    settings = {"epochs": 4, "crop_padding": 1, "flip": True, "cutout": 2}
    spec = replace(SPEC, **REGULARISED)  # type: ignore[arg-type]
    whole = training(data, spec, **settings)
    curve = [facts(whole.train_epoch()) for _ in range(2)]
    saved = {name: value.clone() for name, value in whole.state().items()}
    curve += [facts(whole.train_epoch()) for _ in range(2)]

    resumed = training(data, spec, **settings)
    resumed.train_epoch()  # its own progress is overwritten
    resumed.load_state(saved)
    assert [facts(resumed.train_epoch()) for _ in range(2)] == curve[2:]
    ours, theirs = resumed.state(), whole.state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_fresh_state_can_be_loaded_too(data: DeviceData) -> None:
    fresh = training(data)
    used = training(data)
    state = {name: value.clone() for name, value in fresh.state().items()}
    used.train_epoch()
    used.load_state(state)
    assert facts(used.train_epoch()) == facts(fresh.train_epoch())


def test_a_loss_that_is_not_finite_is_reported(data: DeviceData) -> None:
    result = training(data, learning_rate=1e30, gradient_clip=0.0).train_epoch()
    assert result.diverged
    assert not math.isfinite(result.train_loss) or not math.isfinite(result.val_loss)


def test_cosine_falls_from_the_rate_to_zero_and_constant_stays() -> None:
    cosine = TrainingSettings(learning_rate=0.2)
    assert [learning_rate(cosine, progress) for progress in (0, 0.5, 1)] == pytest.approx([0.2, 0.1, 0])
    constant = TrainingSettings(learning_rate=0.2, schedule="constant")
    assert {learning_rate(constant, progress) for progress in (0, 0.5, 1)} == {0.2}


def test_the_reported_learning_rate_is_that_of_the_last_step(data: DeviceData) -> None:
    run = training(data, epochs=2, learning_rate=0.1)
    steps = len(data.train) // 32
    expected = [0.05 * (1 + math.cos(math.pi * (epoch + (steps - 1) / steps) / 2)) for epoch in range(2)]
    assert [run.train_epoch().learning_rate for _ in range(2)] == pytest.approx(expected)


def test_only_weights_decay(data: DeviceData) -> None:
    groups = training(data, weight_decay=0.01).optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    assert all(parameter.ndim > 1 for parameter in groups[0]["params"])
    assert all(parameter.ndim == 1 for parameter in groups[1]["params"])


def test_the_gradient_is_clipped(data: DeviceData) -> None:
    frozen = training(data, gradient_clip=1e-12, weight_decay=0.0, epochs=1)
    before = [parameter.detach().clone() for parameter in frozen.network.parameters()]
    frozen.train_epoch()
    for old, new in zip(before, frozen.network.parameters(), strict=True):
        torch.testing.assert_close(old, new.detach(), rtol=0, atol=1e-9)


def test_the_auxiliary_loss_trains_the_auxiliary_head() -> None:
    data = DeviceData(
        load_data(DataSettings(limit=100, validation_fraction=0.5, image_size=9), seed=0), torch.device("cpu")
    )
    spec = replace(SPEC, image_size=(9, 9), auxiliary_head=True)
    run = training(data, spec, auxiliary_weight=0.4, epochs=1)
    assert run.network.auxiliary is not None
    before = [parameter.detach().clone() for parameter in run.network.auxiliary.parameters()]
    run.train_epoch()
    moved = [not torch.equal(a, b) for a, b in zip(before, run.network.auxiliary.parameters(), strict=True)]
    assert all(moved)


def test_validation_scores_the_network_without_regularisation(data: DeviceData) -> None:
    run = training(data, replace(SPEC, **REGULARISED), epochs=1)  # type: ignore[arg-type]
    result = run.train_epoch()
    images, labels = next(data.validation.in_order(1000))
    with torch.no_grad():
        logits = run.network.eval()(images)
    assert result.val_accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert result.val_loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-4)


@pytest.mark.parametrize(
    ("batch_size", "micro_batches", "at_once"), [(32, 1, 64), (32, 4, 16), (2, 4, 1), (512, 1, 100)]
)
def test_the_scoring_batch_fits_the_memory_of_training(
    batch_size: int, micro_batches: int, at_once: int, data: DeviceData
) -> None:
    run = Training(SPEC, TrainingSettings(epochs=1, batch_size=batch_size), data, seed=0, micro_batches=micro_batches)
    seen: list[int] = []
    run.network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    scores = run.validate()
    loss, accuracy = scores.loss, scores.score
    assert (max(seen), sum(seen), len(data.validation)) == (at_once, 100, 100)
    images, labels = next(data.validation.in_order(1000))
    with torch.no_grad():
        logits = run.network.eval()(images)
    assert accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-4)


def test_label_smoothing_changes_the_training_loss(data: DeviceData) -> None:
    plain, smoothed = (training(data, label_smoothing=value).train_epoch() for value in (0.0, 0.1))
    assert plain.train_loss != smoothed.train_loss


def test_restarted_cosines_double_in_length() -> None:
    """ENAS' schedule: cycles of 10, 20, 40, ... epochs (melodyguan/enas `lr_T_0` and `lr_T_mul`)."""
    settings = TrainingSettings(preset="enas")

    def rate(epoch: float) -> float:
        return learning_rate(settings, epoch / settings.epochs)

    for start in (0, 10, 30, 70, 150, 310):
        assert rate(start) == pytest.approx(0.05)
    for end in (10, 30, 70, 150, 310, 630):
        assert rate(end - 1e-6) == pytest.approx(1e-4, abs=1e-6)
    assert rate(20) == pytest.approx((0.05 + 1e-4) / 2)


def test_rounding_does_not_shift_the_start_of_a_cycle() -> None:
    for epochs in range(31, 700):
        settings = TrainingSettings(epochs=epochs, learning_rate=0.1, restart_epochs=10)
        assert learning_rate(settings, 30 / epochs) == pytest.approx(0.1)


def test_a_cosine_ends_at_the_final_learning_rate() -> None:
    settings = TrainingSettings(epochs=4, learning_rate=0.2, learning_rate_end=0.1)
    assert [learning_rate(settings, progress) for progress in (0, 0.5, 1)] == pytest.approx([0.2, 0.15, 0.1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_network_learns_in_bfloat16_and_reproducibly() -> None:
    device = torch.device("cuda")
    data = DeviceData(load_data(DataSettings(validation_fraction=0.2), seed=0), device)
    spec = replace(SPEC, architecture=NASNET.sample(np.random.default_rng(0)), filters=8)
    curves = []
    for _ in range(2):
        run = training(data, spec, epochs=6)
        curves.append([run.train_epoch() for _ in range(6)])
    assert curves[0][-1].val_accuracy > 0.8
    # Sums on a GPU are not ordered, so the curves agree closely and not to the last bit.
    assert curves[0][0].train_loss == pytest.approx(curves[1][0].train_loss, rel=0.05)
