"""Baselines: torchvision's models for classification and segmentation, and a small textbook network, all untrained.

Knows how they are fitted to image sizes, channels and classes. Does not know how they are trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from trainables.baseline_spec import Baselines, BaselineSpec
from trainables.modules import Regularisation

NATIVE_SIDE = 224
"""Side in pixels for which torchvision's models were designed."""

_MODULES: dict[Baselines, Any] = {"classification": models, "segmentation": models.segmentation}
"""torchvision's modules of the kinds of models."""

_WITHOUT_AUXILIARY: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
"""Options that build these models without auxiliary heads: a recipe weighs only those of cell networks."""


class BaselineNetwork(nn.Module):
    """A baseline with the same interface as `CellNetwork`.

    `forward` maps float images [batch, channels, height, width] to logits [batch, classes], or for segmentation to
    logits [batch, classes, height, width]. If the model cannot take
    the image size, images are first enlarged bilinearly to `input_size`: the first of 2, 4, 8, ... times their size
    that it can take and that has at most 224 pixels per side, or else 224x224. The first convolution of a model for
    three channels is adapted to the channels of the images.

    Raises:
        ValueError: there is no baseline of this name, or it takes none of these sizes.
    """

    auxiliary = None

    def __init__(self, spec: BaselineSpec) -> None:
        super().__init__()
        if not any(spec.baseline in baseline_names(kind) for kind in get_args(Baselines)):
            raise ValueError(f"{spec.baseline!r} is not a baseline")
        self.spec = spec
        self.regularisation = Regularisation()  # set by the training, but not read: these models have their own dropout
        self.model, self.input_size, self._macs = _fit_model(spec)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [batch, classes] or [batch, classes, height, width]."""
        size = images.shape[2:]
        if images.shape[2:] != self.input_size:
            images = F.interpolate(images, self.input_size, mode="bilinear", align_corners=False)
        logits: Tensor = self.model(images)
        if logits.ndim == images.ndim and logits.shape[2:] != size:
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        return logits

    def all_logits(self, images: Tensor) -> tuple[Tensor, None]:
        """Logits, and None because there is no auxiliary head."""
        return self(images), None

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights, also from a plain mapping: MNASNet needs version metadata, which safetensors files lack."""
        weights = self.state_dict()  # with the metadata
        weights.clear()
        weights.update(state_dict)
        return super().load_state_dict(weights, strict, assign)

    @property
    def parameters_count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions, linear layers and attention for one image of `input_size`."""
        return self._macs


def baseline_names(kind: Baselines = "classification") -> list[str]:
    """Names of the baselines of a kind: our own, then torchvision's models."""
    own = list(_OWN_MODELS) if kind == "classification" else []
    return [*own, *models.list_models(module=_MODULES[kind])]


class _OnlyMasks(nn.Module):
    """A segmentation model of torchvision that returns its logits alone, instead of in a dictionary."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)["out"]
        return logits


def _model_builder(spec: BaselineSpec) -> Callable[[tuple[int, int]], nn.Module]:
    """A function that builds the model for a height and width; torchvision's are the same model for all sizes."""
    if spec.baseline in _OWN_MODELS:
        return lambda size: _OWN_MODELS[spec.baseline](spec, size)
    options = _WITHOUT_AUXILIARY.get(spec.baseline, {})
    if spec.baseline in models.list_models(module=models.segmentation):
        whole = models.get_model(spec.baseline, weights=None, weights_backbone=None, num_classes=spec.classes)
        model: nn.Module = _OnlyMasks(whole)
    else:
        model = models.get_model(spec.baseline, weights=None, num_classes=spec.classes, **options)
    _adapt_channels(model, spec.image_channels)
    return lambda size: model


def _adapt_channels(model: nn.Module, channels: int) -> None:
    """Give the first convolution this many input channels.

    Its weights repeat those of the original channels in turn, scaled to keep the variance of its output.
    """
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    if first.in_channels == channels:
        return
    chosen = torch.arange(channels) % first.in_channels
    first.weight = nn.Parameter(first.weight.detach()[:, chosen] * math.sqrt(first.in_channels / channels))
    first.in_channels = channels


def _two_convolutions(spec: BaselineSpec, size: tuple[int, int]) -> nn.Module:
    """Two 3x3 convolutions without padding, each with 2x2 max pooling, then 64 units.

    Textbooks train this network on MNIST's 28x28 digits.
    """
    height, width = (((side - 2) // 2 - 2) // 2 for side in size)
    if min(height, width) < 1:
        raise ValueError(f"images have {size[0]}x{size[1]} pixels; two_convolutions needs at least 10x10")
    return nn.Sequential(
        nn.Conv2d(spec.image_channels, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * height * width, 64),
        nn.ReLU(),
        nn.Linear(64, spec.classes),
    )


_OWN_MODELS: dict[str, Callable[[BaselineSpec, tuple[int, int]], nn.Module]] = {"two_convolutions": _two_convolutions}


def _fit_model(spec: BaselineSpec) -> tuple[nn.Module, tuple[int, int], int]:
    """The model, the size to which its images are enlarged, and its multiply-adds for one of them."""
    build = _model_builder(spec)
    for size in _candidate_sizes(spec.image_size):
        try:
            model = build(size)
            return model, size, _count_macs(model, spec.image_channels, size)
        except (RuntimeError, ValueError, AssertionError):  # models raise any of these for images that are too small
            continue
    raise ValueError(f"{spec.baseline} cannot take images of {spec.image_size[0]}x{spec.image_size[1]} pixels")


def _candidate_sizes(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the sizes to try, from the size of the images to 224x224."""
    yield size
    factor = 2
    while factor * max(size) <= NATIVE_SIDE:
        yield factor * size[0], factor * size[1]
        factor *= 2
    yield NATIVE_SIDE, NATIVE_SIDE


def _count_macs(model: nn.Module, channels: int, size: tuple[int, int]) -> int:
    """Count multiply-adds for one image, on tensors without memory.

    The forward pass is that of training, so it fails for images on which the model cannot be trained.
    """
    state = {name: torch.empty_like(value, device="meta") for name, value in model.state_dict().items()}
    images = torch.empty(2, channels, *size, device="meta")  # batch norm in training mode needs two
    with FlopCounterMode(display=False) as counter:
        functional_call(model, state, (images,))
    return int(counter.get_total_flops()) // 2 // len(images)
