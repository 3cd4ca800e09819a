"""Layers as PyTorch modules.

Knows how each layer is computed. Does not know which layers a network has (`network_plan.py`) or how states flow
through a cell (`network.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables import layers
from trainables.cpu_concatenation import concatenate
from trainables.cpu_convolution import CpuConvolution
from trainables.layers import PADDING, UNKNOWN, Layer, Row, same_padding


class State:
    """Output of a stem, a cell or a block. Its ReLU is computed once and shared by all rows that begin with a ReLU."""

    def __init__(self, value: Tensor) -> None:
        self.value = value
        self._rectified: Tensor | None = None

    @property
    def rectified(self) -> Tensor:  # not a cached_property, whose lock causes a graph break in `torch.compile`
        """ReLU of the value, computed at the first call."""
        if self._rectified is None:
            self._rectified = F.relu(self.value)
        return self._rectified


class RowModule(nn.Sequential):
    """The layers of a row, except a leading ReLU, which the state computes. So call `read`, not the module itself.

    Args:
        row: the layers.
        regularisation: of the network.
        axes: the number of axes of a size: 2 for images, 1 for sequences.
    """

    def __init__(self, row: Row, regularisation: Regularisation, axes: int = 2) -> None:
        self.rectifies = row[:1] == (layers.Relu(),)
        rest = row[1:] if self.rectifies else row
        modules: list[nn.Module] = []
        for before, layer in zip((None, *rest), rest, strict=False):
            if layer == layers.Relu():
                # In place where nobody else reads what the layer before returns. Others may return their own input,
                # as a dropout does in evaluation.
                modules.append(nn.ReLU(inplace=isinstance(before, layers.Convolution | layers.BatchNorm)))
            else:
                modules += _build(layer, regularisation, axes)
        super().__init__(*modules)

    def read(self, state: State) -> State:
        """Run the row on a state; an empty row returns the state itself."""
        if self.rectifies:
            return State(self(state.rectified))
        return State(self(state.value)) if len(self) else state


def module_list(rows: Iterable[Row], regularisation: Regularisation, axes: int) -> nn.ModuleList:
    """Build a module for every row; `axes` is as for `RowModule`."""
    return nn.ModuleList(RowModule(row, regularisation, axes) for row in rows)


def rows_of(modules: Any) -> Iterable[RowModule]:
    """The rows of a module list; a cast, because `nn.ModuleList` is not generic."""
    return cast("Iterable[RowModule]", modules)


def combine(sides: list[State], combination: str) -> State:
    """Add or concatenate states of the same size; a single state is returned unchanged."""
    if len(sides) == 1:
        return sides[0]
    if combination == "concat":
        return State(concatenate([side.value for side in sides]))
    total = sides[0].value
    for side in sides[1:]:
        total = total + side.value
    return State(total)


class Regularisation:
    """What drop path and dropout read, shared by all modules of a network."""

    def __init__(self) -> None:
        self.generator: torch.Generator | None = None
        """Source of the random draws; None uses torch's global generator."""
        self.keep: Tensor | None = None
        """Probability of each drop path to keep an image in this step [drop paths]; None keeps all."""
        self._drop_probabilities: list[float] = []
        self._factors: tuple[Tensor, ...] = ()

    def add_path(self, probability: float) -> int:
        """Add a drop path with this probability at the end of the training, and return its number."""
        self._drop_probabilities.append(probability)
        return len(self._drop_probabilities) - 1

    def keep_at(self, progress: float) -> list[float]:
        """The probabilities of all drop paths to keep an image at this progress (0..1) of the training."""
        return [1 - probability * progress for probability in self._drop_probabilities]

    def draw(self, images: Tensor, axes: int) -> None:
        """Draw for all drop paths at once which of these images, of so many axes, they drop in the next pass."""
        if self.keep is None or not self._drop_probabilities:
            self._factors = ()
            return
        device = images.device
        drawn = torch.rand(len(self.keep), len(images), device=device, generator=self.generator)
        factors = (drawn < self.keep[:, None]) / self.keep[:, None]
        if torch.is_autocast_enabled(device.type):
            factors = factors.to(torch.get_autocast_dtype(device.type))
        self._factors = factors.reshape(*factors.shape, *[1] * (1 + axes)).unbind()

    def drop_path(self, number: int, values: Tensor) -> Tensor:
        """Set the images that the drop path drops to zero, and scale the others to keep the mean."""
        return values * self._factors[number] if self._factors else values

    def dropout(self, values: Tensor, probability: float) -> Tensor:
        """Set single values to zero with `probability`, and scale the others to keep the mean."""
        keep = 1 - probability
        mask = torch.rand(values.shape, device=values.device, generator=self.generator) < keep
        return values * (mask.to(values.dtype) / keep)

    def drop_tokens(self, tokens: Tensor, probability: float) -> Tensor:
        """Replace single tokens by `UNKNOWN` with `probability`; padding stays."""
        dropped = torch.rand(tokens.shape, device=tokens.device, generator=self.generator) < probability
        return tokens.masked_fill(dropped & (tokens != PADDING), UNKNOWN)


class DropPath(nn.Module):
    """Module of `layers.DropPath`."""

    def __init__(self, probability: float, regularisation: Regularisation) -> None:
        super().__init__()
        self.number = regularisation.add_path(probability)
        self.regularisation = regularisation

    def forward(self, values: Tensor) -> Tensor:
        return self.regularisation.drop_path(self.number, values) if self.training else values


class Dropout(nn.Module):
    """Module of `layers.Dropout`, which draws from the training's generator."""

    def __init__(self, probability: float, regularisation: Regularisation) -> None:
        super().__init__()
        self.probability = probability
        self.regularisation = regularisation

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return features
        return self.regularisation.dropout(features, self.probability)


INITIAL_DEVIATION = 0.05
"""Of the random vectors of an embedding. The batch norm after the next layer makes their length meaningless, but short
vectors turn further with each step. With PyTorch's 1.0 networks learn the words several times more slowly."""


@final
class Embedding(nn.Embedding):
    """Module of `layers.Embedding`."""

    def __init__(self, layer: layers.Embedding, regularisation: Regularisation) -> None:
        super().__init__(layer.tokens, layer.channels, padding_idx=PADDING)
        with torch.no_grad():
            self.weight.mul_(INITIAL_DEVIATION)
        self.dropout = layer.dropout
        self.regularisation = regularisation

    def forward(self, input: Tensor) -> Tensor:
        """Map tokens [n, length] to their vectors [n, channels, length]."""
        tokens = self.regularisation.drop_tokens(input, self.dropout) if self.training and self.dropout else input
        return super().forward(tokens).movedim(-1, 1)


@final
class BatchNorm(nn.BatchNorm2d):
    """Module of `layers.BatchNorm`, which does not count its batches: the training adds them up once an epoch.

    It takes sizes of any number of axes, as `torch.nn.functional.batch_norm` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise images [n, channels, *size] by their batch, or in evaluation by the running statistics."""
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            cast("float", self.momentum),
            self.eps,
        )


def count_batches(network: nn.Module, batches: int) -> None:
    """Add to the number of batches that the network's batch norms have seen, as `nn.BatchNorm2d` does by itself."""
    for module in network.modules():
        if isinstance(module, BatchNorm) and module.num_batches_tracked is not None:
            module.num_batches_tracked += batches


class FirstPadding(nn.Module):
    """Pads the image with zeros if the convolution cannot do so itself (`layers.Convolution.pads_first`)."""

    def __init__(self, layer: layers.Convolution) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        padding = self.layer.first_padding(tuple(images.shape[2:]))
        return F.pad(images, [pixels for around in reversed(padding) for pixels in around])  # the last axis first


class Pool(nn.Module):
    """Module of `layers.Pool`."""

    def __init__(self, layer: layers.Pool) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        kernel, stride, padding = self.layer.kernel, self.layer.stride, self.layer.padding
        if padding == "same":
            # The odd pixel of padding comes last, where ceil_mode adds it.
            before = [same_padding(size, kernel, stride)[0] for size in images.shape[2:]]
        else:
            before = [kernel // 2 if padding == "symmetric" else 0] * len(images.shape[2:])
        if self.layer.pads_first:  # because ceil_mode adds nothing at stride 1
            images = F.pad(images, [0, 1] * len(before), value=-torch.inf)
        max_pool, average_pool = _POOLS[len(before)]
        ceil_mode = padding == "same"
        if self.layer.kind == "max":
            return max_pool(images, kernel, stride, before, ceil_mode=ceil_mode)
        return average_pool(images, kernel, stride, before, ceil_mode=ceil_mode, count_include_pad=False)


_POOLS: dict[int, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    1: (F.max_pool1d, F.avg_pool1d),
    2: (F.max_pool2d, F.avg_pool2d),
}
"""PyTorch's max and average pooling, by the number of axes."""


class Zero(nn.Module):
    """Module of `layers.Zero`."""

    def __init__(self, layer: layers.Zero) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        size = self.layer.size_after(tuple(images.shape[2:]))
        return images.new_zeros(images.shape[0], self.layer.channels, *size)


class Shift(nn.Module):
    """Module of `layers.Shift`."""

    def forward(self, images: Tensor) -> Tensor:
        # A copy: the gradient of a view would lose the memory layout, which slows down the layers before it.
        return F.pad(images, [pixels for side in reversed(images.shape[2:]) for pixels in (-1, side % 2)])


class Resize(nn.Module):
    """Module of `layers.Resize`, for images."""

    def __init__(self, size: layers.Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(images, self.size, mode="bilinear", align_corners=False)


class GlobalPool(nn.Module):
    """Module of `layers.GlobalPool`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, images: Tensor) -> Tensor:
        pixels = tuple(range(2, images.ndim))
        return images.amax(dim=pixels) if self.kind == "max" else images.mean(dim=pixels)


class Parallel(nn.Module):
    """Module of `layers.Parallel`."""

    def __init__(self, rows: list[RowModule], combination: str) -> None:
        super().__init__()
        self.rows = nn.ModuleList(rows)
        self.combination = combination

    def forward(self, images: Tensor) -> Tensor:
        state = State(images)
        return combine([row.read(state) for row in rows_of(self.rows)], self.combination).value


class TorchModule(nn.Module):
    """Module of `layers.TorchModule`, which checks what the layer states: wrong costs and shapes would stay unseen.

    Raises:
        ValueError: the module is not a `torch.nn.Module`, or has another number of parameters.
    """

    def __init__(self, layer: layers.TorchModule) -> None:
        super().__init__()
        module = layer.make()
        if not isinstance(module, nn.Module):
            raise ValueError(f"TorchModule.make returned {type(module).__name__}; it must return a torch.nn.Module")
        found = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        if found != layer.parameters:
            raise ValueError(
                f"{type(module).__name__} has {found:,} trainable parameters; its TorchModule states "
                f"parameters = {layer.parameters:,}"
            )
        self.module = module
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.module(images)
        expected = (self.layer.channels, *self.layer.size_after(tuple(images.shape[2:])))
        if tuple(output.shape[1:]) != expected:
            raise ValueError(
                f"{type(self.module).__name__} returned {list(output.shape[1:])} for an image of "
                f"{list(images.shape[1:])}; its TorchModule states {list(expected)}"
            )
        return output


def _build(layer: Layer, regularisation: Regularisation, axes: int) -> list[nn.Module]:
    match layer:
        case layers.Embedding():
            return [Embedding(layer, regularisation)]
        case layers.Relu():
            raise AssertionError("`RowModule` builds it, because it depends on the layer before")
        case layers.Convolution():
            return _convolution(layer, axes)
        case layers.BatchNorm():
            return [BatchNorm(layer.channels, eps=layer.epsilon, momentum=layer.momentum)]
        case layers.Pool():
            return [Pool(layer)]
        case layers.Zero():
            return [Zero(layer)]
        case layers.Shift():
            return [Shift()]
        case layers.Resize():
            return [Resize(layer.size)]
        case layers.DropPath():
            return [DropPath(layer.probability, regularisation)]
        case layers.Dropout():
            return [Dropout(layer.probability, regularisation)]
        case layers.GlobalPool():
            return [GlobalPool(layer.kind)]
        case layers.Flatten():
            return [nn.Flatten()]
        case layers.Linear():
            return [nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)]
        case layers.Parallel():
            return [Parallel([RowModule(row, regularisation, axes) for row in layer.rows], layer.combination)]
        case layers.TorchModule():
            return [TorchModule(layer)]


def _convolution(layer: layers.Convolution, axes: int) -> list[nn.Module]:
    module = _convolution_class(layer, axes)(
        layer.in_channels,
        layer.out_channels,
        layers.along_axes(layer.kernel, axes),
        layers.along_axes(layer.stride, axes),
        padding=layer.own_padding(axes),
        dilation=layer.dilation,
        groups=layer.groups,
        bias=layer.bias,
    )
    return [FirstPadding(layer), module] if layer.pads_first else [module]


MIN_STRIDED_CHANNELS = 16
"""The weight gradient of oneDNN's strided 1x1 convolution of fewer channels writes beyond its buffers, and may end the
process: without AVX-512 below 8 channels (seen with PyTorch 2.11, 2.14 and 2.15), and with AVX-512 below 16 (2.14)."""


@final
class StridedPointwise(nn.Conv2d):
    """A strided 1x1 convolution that leaves pixels out before it convolves; the result is the same."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve every `stride`-th pixel."""
        rows, columns = self.stride
        return F.conv2d(input[:, :, ::rows, ::columns], self.weight, self.bias, groups=self.groups)


@final
class StridedSequencePointwise(nn.Conv1d):
    """`StridedPointwise` for sequences."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve every `stride`-th step."""
        return F.conv1d(input[:, :, :: self.stride[0]], self.weight, self.bias, groups=self.groups)


def _convolution_class(layer: layers.Convolution, axes: int) -> Callable[..., nn.Module]:
    kernel, stride = layers.along_axes(layer.kernel, axes), layers.along_axes(layer.stride, axes)
    pointwise, other = _CONVOLUTIONS[axes]
    is_strided_pointwise = set(kernel) == {1} and set(stride) != {1}
    return pointwise if is_strided_pointwise and layer.in_channels < MIN_STRIDED_CHANNELS else other


_CONVOLUTIONS: dict[int, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    1: (StridedSequencePointwise, nn.Conv1d),
    2: (StridedPointwise, CpuConvolution),
}
"""The strided 1x1 convolution of few channels, and all other convolutions, by the number of axes."""
