"""Networks to compare with: torchvision's classification models, and the small convolutional network of textbooks.

Knows how they are fitted to images and classes. Their weights are random; how they are trained, nothing here knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from trainables.baseline_spec import BaselineSpec
from trainables.modules import Regularisation
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec

OWN_SIDE = 224
"""Side in pixels for which torchvision's models were made."""

_WITHOUT_AUXILIARY: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
"""Auxiliary heads are the recipe's business, and it weighs those of cell networks only."""


class BaselineNetwork(nn.Module):
    """A baseline that takes images as a `CellNetwork` does.

    `forward` takes float images [batch, channels, height, width] and gives logits [batch, classes]. Images of a size
    that the model cannot take are enlarged first, bilinearly: to twice their height and width, or 4, 8, ... times, the
    first that it can take and that is no larger than 224 pixels a side, and if there is none to 224x224
    (`input_size`). A model for three channels gets a first convolution for those of the images.

    Raises:
        ValueError: no baseline has this name, or it takes none of these sizes.
    """

    auxiliary = None

    def __init__(self, spec: BaselineSpec) -> None:
        super().__init__()
        if spec.baseline not in baseline_names():
            raise ValueError(f"{spec.baseline!r} is no baseline")
        self.spec = spec
        self.regularisation = Regularisation()  # for the training to set; these models have a dropout of their own
        self.model, self.input_size, self._macs = _fitted(spec)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2:] != self.input_size:
            images = F.interpolate(images, self.input_size, mode="bilinear", align_corners=False)
        logits: Tensor = self.model(images)
        return logits

    def all_logits(self, images: Tensor) -> tuple[Tensor, None]:
        """Logits, and None in place of those of an auxiliary head."""
        return self(images), None

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """From a plain mapping too: torchvision's MNASNet asks for a version, which safetensors files lack."""
        weights = self.state_dict()  # with the metadata
        weights.clear()
        weights.update(state_dict)
        return super().load_state_dict(weights, strict, assign)

    @property
    def parameters_count(self) -> int:
        """Trainable ones."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions, linear layers and attention for one image, enlarged if it is."""
        return self._macs


Network = CellNetwork | BaselineNetwork
"""What a training trains."""


def build_network(spec: NetworkSpec | BaselineSpec) -> Network:
    """The network with random weights.

    Raises:
        ValueError: there is no such network; see `CellNetwork` and `BaselineNetwork`.
    """
    return CellNetwork(spec) if isinstance(spec, NetworkSpec) else BaselineNetwork(spec)


def baseline_names() -> list[str]:
    """Every baseline that there is: ours, then torchvision's classification models."""
    return [*_OURS, *models.list_models(module=models)]


def _maker(spec: BaselineSpec) -> Callable[[tuple[int, int]], nn.Module]:
    """What makes the model for a height and width; of torchvision's it is one and the same for all sizes."""
    if spec.baseline in _OURS:
        return lambda size: _OURS[spec.baseline](spec, size)
    options = _WITHOUT_AUXILIARY.get(spec.baseline, {})
    model = models.get_model(spec.baseline, weights=None, num_classes=spec.classes, **options)
    _adapt_channels(model, spec.image_channels)
    return lambda size: model


def _adapt_channels(model: nn.Module, channels: int) -> None:
    """Give the first convolution this many input channels: those of its three again and again, scaled so that what it
    gives varies as before."""
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    if first.in_channels == channels:
        return
    chosen = torch.arange(channels) % first.in_channels
    first.weight = nn.Parameter(first.weight.detach()[:, chosen] * math.sqrt(first.in_channels / channels))
    first.in_channels = channels


def _two_convolutions(spec: BaselineSpec, size: tuple[int, int]) -> nn.Module:
    """Two 3x3 convolutions without padding, each halved by max pooling, then 64 units: the network that textbooks train
    on MNIST's 28x28 digits."""
    height, width = (((side - 2) // 2 - 2) // 2 for side in size)
    if min(height, width) < 1:
        raise ValueError(f"{size[0]}x{size[1]} pixels are too few")
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


_OURS: dict[str, Callable[[BaselineSpec, tuple[int, int]], nn.Module]] = {"two_convolutions": _two_convolutions}


def _fitted(spec: BaselineSpec) -> tuple[nn.Module, tuple[int, int], int]:
    """The model, the size of the images that it is given, and its multiply-adds for one."""
    make = _maker(spec)
    for size in _sizes(spec.image_size):
        try:
            model = make(size)
            return model, size, _macs(model, spec.image_channels, size)
        except (RuntimeError, ValueError, AssertionError):  # whatever a model says of images that are too small
            continue
    raise ValueError(f"{spec.baseline} takes no images of {spec.image_size[0]}x{spec.image_size[1]} pixels")


def _sizes(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    yield size
    factor = 2
    while factor * max(size) <= OWN_SIDE:
        yield factor * size[0], factor * size[1]
        factor *= 2
    yield OWN_SIDE, OWN_SIDE


def _macs(model: nn.Module, channels: int, size: tuple[int, int]) -> int:
    """Counted in a training step's forward pass on tensors without memory, so that a model that cannot be trained on
    images of this size is found out."""
    state = {name: torch.empty_like(value, device="meta") for name, value in model.state_dict().items()}
    images = torch.empty(2, channels, *size, device="meta")  # batch norms need two
    with FlopCounterMode(display=False) as counter:
        functional_call(model, state, (images,))
    return int(counter.get_total_flops()) // 2 // len(images)
