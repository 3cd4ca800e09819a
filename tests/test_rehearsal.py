"""The step that is trained with a user's own parts before the first trial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from orchestrator.config.search_config import SearchConfig
from orchestrator.errors import ConfigError
from orchestrator.search.run import run_search
from tests.own_operations import EXAMPLE, EXAMPLES
from tests.stepping import PLAN
from trainables import CellTrainable
from trainables.datasets import DataSplits, load_data
from trainables.faults import PartError
from trainables.procedure import TrainingProcedure
from trainables.rehearsal import IMAGES, rehearse
from trainables.settings import DataSettings

ODD = """
from torch import nn
from trainables.layers import TorchModule


def shrinks(in_channels, filters, *, stride, rules):
    costs = {"parameters": 0, "macs": lambda size: 0, "activation_bytes": lambda size: 0}
    return (TorchModule(make=lambda: nn.MaxPool2d(3), channels=filters, stride=stride, **costs),)
"""


@pytest.fixture(scope="module")
def data() -> DataSplits:
    return load_data(DataSettings(limit=200), seed=0)


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "oddly_shaped.py").write_text(ODD)


def procedure(**body: Any) -> type[TrainingProcedure]:
    return type("Mine", (TrainingProcedure,), body)


def tried(data: DataSplits, own: type[TrainingProcedure] = TrainingProcedure, *operations: str) -> None:
    plan = replace(PLAN, space=replace(PLAN.space, operations=(*PLAN.space.operations, *operations)))
    rehearse(plan, own, data, torch.device("cpu"))


def one_argument(self: Any, logits: Tensor) -> Tensor:
    return logits.mean()


def beyond_the_classes(self: Any, logits: Tensor, labels: Tensor) -> Tensor:
    return logits[:, 10].mean()


LOSS = r"; loss\(logits, labels\) must return the mean over the batch as a scalar that depends on the logits$"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"loss": one_argument}, r"^Mine.loss: TypeError: one_argument\(\) takes 2 positional .* were given" + LOSS),
        ({"loss": beyond_the_classes}, "^Mine.loss: IndexError: index 10 is out of bounds" + ".*" + LOSS),
        ({"loss": lambda *_: 1.0}, "^Mine.loss returned float" + LOSS),
        ({"loss": lambda self, logits, _: logits.mean(1)}, r"^Mine.loss returned a tensor of shape \[8\]" + LOSS),
        (
            {"loss": lambda self, logits, _: logits.detach().mean()},
            "^Mine.loss returned a scalar that does not depend on the logits" + LOSS,
        ),
        ({"augment": lambda self, images, labels: (images, labels)}, "^Mine.augment: TypeError: .*; augment.images, l"),
        ({"augment": lambda self, images, *_: images}, r"^Mine.augment returned a tensor of shape \[8, 1, 8, 8\]; aug"),
        (
            {"augment": lambda self, images, labels, _: (images, labels[:4])},
            r"^Mine.augment returned \(a tensor of shape \[8, 1, 8, 8\], a tensor of shape \[4\]\); augment",
        ),
        ({"metrics": ("margin",)}, r"^Mine.measure returned \{\} \(metrics: margin\); measure\(logits, labels\) must "),
        ({"measure": lambda *_: {"margin": 1.0}}, r"^Mine.measure returned \{'margin': float\} \(metrics: none\); "),
        (
            {"metrics": ("margin",), "measure": lambda self, logits, _: {"margin": logits.amax(1)}},
            r"^Mine.measure returned \{'margin': a tensor of shape \[8\]\}; measure",
        ),
        ({"optimizer": lambda *_: None}, "^Mine.optimizer returned None; optimizer.*torch.optim.Optimizer$"),
        ({"learning_rate": lambda *_: None}, "^Mine.learning_rate returned None; learning_rate.progress. must return "),
        ({"__init__": lambda self: None}, "^Mine: TypeError: .* takes 1 positional argument but 4 were given$"),
    ],
)
def test_a_mistake_in_a_procedure_is_named(body: dict[str, Any], message: str, data: DataSplits) -> None:
    with pytest.raises(PartError, match=message):
        tried(data, procedure(**body))


def test_an_operation_that_differs_from_what_it_states_is_named(data: DataSplits, odd: None) -> None:
    """In whatever candidates it is."""
    message = (
        r"^operation 'oddly_shaped:shrinks': ValueError: MaxPool2d returned .*; its TorchModule states \[4, 8, 8\]"
    )
    with pytest.raises(PartError, match=message):
        tried(data, TrainingProcedure, "oddly_shaped:shrinks")


def test_a_right_procedure_and_right_operations_are_tried_on_few_images(
    data: DataSplits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method that calls another one may ask it for anything."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    seen: list[tuple[str, int]] = []

    def loss(self: TrainingProcedure, logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
        seen.append((reduction, len(logits)))
        return torch.nn.functional.cross_entropy(logits, labels, reduction=reduction)

    def measure(self: Any, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"worst": self.loss(logits, labels, "none").max()}

    tried(data, procedure(loss=loss, measure=measure, metrics=("worst",)), *EXAMPLE)
    assert seen == 2 * [("mean", IMAGES), ("none", IMAGES)]


def test_a_search_without_parts_of_the_users_own_rehearses_nothing() -> None:
    assert CellTrainable.rehearsal(PLAN) is None


def test_a_search_whose_parts_are_wrong_does_not_begin(tmp_path: Path, local_ray: None) -> None:
    class Mine(CellTrainable):
        procedure = procedure(loss=one_argument)

    config = {"data": {"limit": 200}, "network": {"filters": 4}, "space": {"blocks": 2}}
    with pytest.raises(ConfigError, match=r"^Mine.loss: TypeError: one_argument\(\) takes 2 positional arguments"):
        run_search(SearchConfig.model_validate(config), run_dir=tmp_path / "run", trainable=Mine)
    assert not (tmp_path / "run").exists()
