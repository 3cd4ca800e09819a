"""Classes of the user's own that Ray cannot send to its workers. Without Ray's start."""

from __future__ import annotations

import inspect
import threading
from typing import Any

import pytest
from torch import Tensor

from orchestrator.config.loading import load_config
from orchestrator.errors import ConfigError
from orchestrator.search.passed import PassedParts
from orchestrator.search.setup import SearchComponents
from tests.stepping import Paced
from trainables import CellTrainable
from trainables.procedure import TrainingProcedure

LOCK = threading.Lock()


def of_a_script(kind: type) -> type:
    """Ray sends it whole, because no module has it."""
    for one in (kind, *filter(inspect.isfunction, vars(kind).values())):
        one.__module__ = "__main__"
    return kind


@of_a_script
class Locked(Paced):
    lock = threading.Lock()

    def begin(self, *given: Any) -> Any:
        return super().begin(*given)


@of_a_script
class Inheriting(Locked):
    pass


@of_a_script
class LockedLoss(TrainingProcedure):
    def loss(self, outputs: Tensor, answers: Tensor) -> Tensor:
        with LOCK:
            return super().loss(outputs, answers)


@of_a_script
class WithProcedure(CellTrainable):
    procedure = LockedLoss


@pytest.mark.parametrize(
    ("trainable", "named"), [(Locked, "Locked.lock"), (Inheriting, "Locked.lock"), (WithProcedure, "LockedLoss")]
)
def test_a_class_that_cannot_be_sent_is_refused_before_anything_starts(trainable: Any, named: str) -> None:
    message = (
        f"^{named} cannot be sent to the workers: cannot pickle '_thread.lock' object; make such an object in a "
        r"method, or import the class from a module \(trainable=...\)$"
    )
    with pytest.raises(ConfigError, match=message):
        SearchComponents.of(load_config(None), PassedParts(trainable=trainable))


def test_a_class_of_a_module_may_have_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent by its name."""
    for kind in (Locked, Inheriting):
        monkeypatch.setattr(kind, "__module__", __name__)
    SearchComponents.of(load_config(None), PassedParts(trainable=Inheriting))
