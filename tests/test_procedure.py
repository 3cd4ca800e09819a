from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from search_spaces import NASNET_A
from tests.documentation import ROOT
from trainables.cell_trainable import CellTrainable
from trainables.datasets import load_data
from trainables.loader import DeviceData
from trainables.network_spec import NetworkSpec
from trainables.procedure import TrainingProcedure
from trainables.settings import DataSettings, TrainingSettings
from trainables.training import Training

SPEC = NetworkSpec(architecture=NASNET_A, repeats=1, filters=4, classes=10, image_channels=1, image_size=(8, 8))


@pytest.fixture(scope="module")
def data() -> DeviceData:
    return DeviceData(load_data(DataSettings(limit=200, validation_fraction=0.25), seed=0), torch.device("cpu"))


@pytest.fixture(scope="module")
def example() -> Any:
    """examples/own_procedure.py: AdamW, a warm-up, mixup and a metric."""
    spec = importlib.util.spec_from_file_location("own_procedure", ROOT / "examples" / "own_procedure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def training(data: DeviceData, procedure: type[TrainingProcedure], **settings: Any) -> Training:
    given = TrainingSettings(**{"epochs": 4, "batch_size": 32, "learning_rate": 0.005, **settings})
    return Training(SPEC, given, data, seed=0, procedure=procedure)


def test_a_procedure_of_ones_own_decides_how_a_network_is_trained(data: DeviceData, example: Any) -> None:
    run = training(data, example.Mixup)
    assert isinstance(run.optimizer, torch.optim.AdamW)
    first, *_, last = [run.train_epoch() for _ in range(4)]
    assert last.train_loss < first.train_loss
    assert last.val_accuracy <= last.metrics["in_two_best"] <= 1
    assert run.procedure.learning_rate(0.0) == pytest.approx(0.0005)  # the warm-up
    assert first.learning_rate == run.procedure.learning_rate(3 / 16)
    plain = training(data, type("Plain", (example.Mixup,), {"augment": TrainingProcedure.augment}))
    assert plain.train_epoch().train_loss != first.train_loss


def test_it_continues_bit_for_bit(data: DeviceData, example: Any) -> None:
    whole, resumed = (training(data, example.Mixup) for _ in range(2))
    whole.train_epoch()
    resumed.load_state({name: value.clone() for name, value in whole.state().items()})
    assert resumed.train_epoch().train_loss == whole.train_epoch().train_loss
    states = whole.state(), resumed.state()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_its_loss_is_what_is_recorded(data: DeviceData) -> None:
    class Constant(TrainingProcedure):
        def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return logits.sum() * 0 + 7

    assert training(data, Constant).train_epoch().train_loss == 7


def test_a_metric_that_is_not_declared_is_refused(data: DeviceData) -> None:
    class Undeclared(TrainingProcedure):
        def measure(self, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"margin": logits.sum()}

    with pytest.raises(ValueError, match=r"Undeclared.measure returned \['margin'\]; Undeclared.metrics declares \[\]"):
        training(data, Undeclared).train_epoch()


def test_the_trainable_declares_the_metrics_of_its_procedure(example: Any) -> None:
    assert example.MixupTrainable.metrics == ("in_two_best",)
    assert CellTrainable.metrics == ()


def test_what_belongs_to_a_procedure_is_refused_in_a_trainable() -> None:
    """It would be ignored."""
    for name in ("loss", "metrics"):
        with pytest.raises(TypeError, match=rf"^Mine.{name} has no effect; put it into .* in Mine: procedure = ...$"):
            type("Mine", (CellTrainable,), {name: lambda *_: None})


def test_a_method_with_nearly_the_name_of_one_to_override_is_refused() -> None:
    with pytest.raises(TypeError, match="^Mine.losses overrides nothing of TrainingProcedure; did you mean 'loss'?"):
        type("Mine", (TrainingProcedure,), {"losses": lambda *_: None})


def test_helpers_of_a_procedure_have_any_other_name_or_that_of_what_they_help() -> None:
    helpers = dict.fromkeys(("blend", "_losses", "loss", "dice_loss"), lambda *_: None)
    mine = type("Mine", (TrainingProcedure,), helpers)
    type("Further", (mine,), {"dice_loss": helpers["blend"]})


@pytest.mark.parametrize(("body", "captured"), [({}, False), ({"capturable": True}, True)])
def test_only_a_class_that_says_so_is_captured(
    data: DeviceData, body: dict[str, bool], captured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    enabled: list[bool] = []
    monkeypatch.setattr("trainables.training.Replayed", lambda *_, **options: enabled.append(options["enabled"]))
    for procedure in (TrainingProcedure, type("Own", (TrainingProcedure,), dict(body))):
        training(data, procedure, epochs=100)
    assert enabled == [True, True, captured, captured]
