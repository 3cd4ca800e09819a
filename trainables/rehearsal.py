"""Trains a step with the user's own operations and procedure, so that no trial has to find their mistakes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.datasets import DataSplits
from trainables.faults import PartError, describe
from trainables.image_arrays import ImageArrays
from trainables.loader import DeviceData
from trainables.procedure import TrainingProcedure
from trainables.settings import TrainingSettings
from trainables.tasks.task import Task
from trainables.training import Training
from trainables.trial_plan import TrialPlan

IMAGES = 8
"""A step is trained on at most so many images, and as many are scored."""

PROMISES = {
    "optimizer": "optimizer(weights, others, learning_rate) must return a torch.optim.Optimizer",
    "learning_rate": "learning_rate(progress) must return a number",
    "augment": "augment(images, labels, generator) must return two tensors of one length, images and labels",
    "loss": "loss(logits, labels) must return the mean over the batch as a scalar that depends on the logits",
    "measure": "measure(logits, labels) must return, for each name in metrics, the sum over the batch as a scalar",
}
"""What each method of a procedure is called with and must return."""


def rehearse(plan: TrialPlan, procedure: type[TrainingProcedure], data: DataSplits, device: torch.device) -> None:
    """Train a network with each own operation by the procedure for a step; without such operations, one network.

    Raises:
        PartError: an operation or the procedure is wrong.
    """
    images = min(IMAGES, plan.training.batch_size)
    few = replace(data, train=_spread(data.train, images), validation=_spread(data.validation, images))
    on_device, checked = DeviceData(few, device), _checked(procedure)
    networks = {f"operation {name!r}": next(plan.examples_with(name)) for name in plan.own_operations}
    for part, spec in (networks or {procedure.__name__: plan.example()}).items():
        with _naming(part):
            Training(spec, plan.training, on_device, seed=plan.seed, procedure=checked).train_epoch()


def _spread(part: ImageArrays, count: int) -> ImageArrays:
    """So many images from the whole part, because the images of a class may follow one another."""
    return part.take(np.linspace(0, len(part) - 1, min(count, len(part)), dtype=np.int64))


def _checked(procedure: type[TrainingProcedure]) -> type[TrainingProcedure]:
    """A procedure that calls the methods of this one, and refuses results that a training cannot use.

    Only calls by the training are checked: a `measure` of the user's own may ask its `loss` for something else.
    """

    class Checked(TrainingProcedure):
        metrics = procedure.metrics

        def __init__(self, settings: TrainingSettings, classes: int, task: Task) -> None:
            with _naming(procedure.__name__):
                own = procedure(settings, classes, task)
            super().__init__(own.settings, own.classes, own.task)
            for name in PROMISES:
                setattr(self, name, functools.partial(_call, own, name))

    return Checked


def _call(own: TrainingProcedure, name: str, *given: Any) -> Any:
    where = f"{type(own).__name__}.{name}"
    with _naming(where, f"; {PROMISES[name]}"):
        returned = getattr(own, name)(*given)
    if (wrong := _what_is_wrong(own, name, returned)) is not None:
        raise PartError(f"{where} returned {wrong}; {PROMISES[name]}")
    return returned


def _what_is_wrong(own: TrainingProcedure, name: str, returned: Any) -> str | None:
    """What a method returned, if it is not what it must return."""
    match name:
        case "optimizer":
            fits = isinstance(returned, torch.optim.Optimizer)
        case "learning_rate":
            fits = hasattr(returned, "__float__")
        case "augment":
            pair = returned if isinstance(returned, tuple | list) else ()
            fits = len(pair) == 2 and all(isinstance(part, Tensor) for part in pair) and len(pair[0]) == len(pair[1])
        case "loss":
            if _is_scalar(returned) and not returned.requires_grad:
                return "a scalar that does not depend on the logits"
            fits = _is_scalar(returned)
        case _:
            declared = f" (metrics: {', '.join(own.metrics) or 'none'})"
            if not isinstance(returned, Mapping) or set(returned) != set(own.metrics):
                return _shown(returned) + declared
            fits = all(map(_is_scalar, returned.values()))
    return None if fits else _shown(returned)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0


def _shown(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name!r}: {_shown(part)}' for name, part in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_shown, value))})"
    return repr(value) if value is None else type(value).__name__


@contextmanager
def _naming(part: str, promise: str = "") -> Iterator[None]:
    """Reraise any exception of the block as an error of this part."""
    try:
        yield
    except PartError:
        raise
    except Exception as error:  # a user's code may raise anything
        raise PartError(f"{part}: {describe(error)}{promise}") from error
