"""The layers of networks, as values: their settings, parameters and output sizes. Does not know torch.

`modules.py` builds them and `costs.py` counts them. Sizes are (height, width) in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

Size = tuple[int, int]
Padding = Literal["same", "symmetric", "valid"]
"""How an image is padded. `same`: TensorFlow's SAME, as much as an output of size/stride needs, the odd pixel last;
`symmetric`: half of the kernel's extent on each side; `valid`: not at all. With stride 1 and an odd kernel, `same` and
`symmetric` are equal."""


@dataclass(frozen=True, slots=True)
class Relu:
    """max(0, x)."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution without bias. `kernel` and `stride` are (vertical, horizontal)."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    _: KW_ONLY
    padding: Padding
    stride: tuple[int, int] = (1, 1)
    dilation: int = 1
    groups: int = 1

    @property
    def extent(self) -> tuple[int, int]:
        """Pixels that the kernel spans, vertically and horizontally."""
        height, width = (self.dilation * (size - 1) + 1 for size in self.kernel)
        return height, width

    @property
    def pads_first(self) -> bool:
        """Whether a separate step pads the image first: opposite sides may need different padding, given its size."""
        return self.padding == "same" and any(
            step > 1 and reach > 1 for step, reach in zip(self.stride, self.extent, strict=True)
        )

    @property
    def own_padding(self) -> tuple[int, int]:
        """Pixels that the convolution itself adds at top and bottom, and at left and right."""
        if self.padding == "valid" or self.pads_first:
            return (0, 0)
        height, width = (reach // 2 for reach in self.extent)
        return height, width

    def first_padding(self, size: Size) -> tuple[tuple[int, int], tuple[int, int]]:
        """((top, bottom), (left, right)): pixels to add to an image of this size first, if `pads_first`."""
        vertical, horizontal = (
            same_padding(side, reach, step) for side, reach, step in zip(size, self.extent, self.stride, strict=True)
        )
        return vertical, horizontal

    @property
    def parameters(self) -> int:
        return self.out_channels * (self.in_channels // self.groups) * self.kernel[0] * self.kernel[1]

    def size_after(self, size: Size) -> Size:
        return _size_after(size, extent=self.extent, stride=self.stride, padding=self.padding)


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch normalisation; `momentum` is the weight of a new batch in the running statistics, as in PyTorch."""

    channels: int
    epsilon: float
    momentum: float

    @property
    def parameters(self) -> int:
        return 2 * self.channels


@dataclass(frozen=True, slots=True)
class Pool:
    """Max or average pooling by a square window, which ignores padding."""

    kind: Literal["max", "average"]
    kernel: int
    _: KW_ONLY
    stride: int
    padding: Padding

    def __post_init__(self) -> None:
        assert not (self.pads_first and self.kind == "average"), "average pools of even windows need stride > 1"

    @property
    def pads_first(self) -> bool:
        """Whether a separate step first pads a row and a column at the end: an even window with stride 1 needs it."""
        return self.padding == "same" and self.kernel % 2 == 0 and self.stride == 1

    def size_after(self, size: Size) -> Size:
        extent, stride = (self.kernel, self.kernel), (self.stride, self.stride)
        return _size_after(size, extent=extent, stride=stride, padding=self.padding)


@dataclass(frozen=True, slots=True)
class Zero:
    """Zeros in the output shape of an operation with this stride."""

    channels: int
    stride: int

    def size_after(self, size: Size) -> Size:
        return _size_after(size, extent=(1, 1), stride=(self.stride, self.stride), padding="same")


@dataclass(frozen=True, slots=True)
class Shift:
    """Drops the first row and column; an odd size is first padded by a row or column of zeros at the end.

    A following stride of 2 then reads the pixels that it would otherwise skip.
    """

    def size_after(self, size: Size) -> Size:
        height, width = (side + side % 2 - 1 for side in size)
        return height, width


@dataclass(frozen=True, slots=True)
class DropPath:
    """Drops the whole output of an operation, independently for each image.

    ScheduledDropPath (Zoph et al. 2018, section 4): the probability grows linearly with the training's progress.
    """

    probability: float
    """The probability at the end of the training."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """Drops each feature independently."""

    probability: float


@dataclass(frozen=True, slots=True)
class GlobalAverage:
    """Mean over all pixels: [batch, channels, height, width] to [batch, channels]."""


@dataclass(frozen=True, slots=True)
class Flatten:
    """Reshapes [batch, channels, height, width] to [batch, channels * height * width]."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected layer."""

    in_features: int
    out_features: int
    bias: bool = True

    @property
    def parameters(self) -> int:
        return (self.in_features + self.bias) * self.out_features


@dataclass(frozen=True, slots=True)
class Parallel:
    """Rows of layers on the same input, whose outputs are added or concatenated."""

    rows: tuple[Row, ...]
    combination: Literal["add", "concat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchModule:
    """A PyTorch module of the user's own, with its costs, which nothing here can compute.

    It maps [n, in_channels, h, w] to [n, channels, h / stride, w / stride], rounded up. It must neither change nor
    return its input, which other layers read too.
    """

    make: Callable[[], Any]
    """Returns the `torch.nn.Module`. Only workers call it, so it should import torch itself."""
    channels: int
    """Channels of the output."""
    stride: int = 1
    parameters: int
    """Trainable parameters; compared with the module's when it is made."""
    macs: Callable[[Size], int]
    """Multiply-adds for one image of this (height, width) at inference."""
    activation_bytes: Callable[[Size], int]
    """Bytes that the module keeps per image of this (height, width) for the backward pass in float32, with its input if
    it needs that."""

    def size_after(self, size: Size) -> Size:
        return _size_after(size, extent=(1, 1), stride=(self.stride, self.stride), padding="same")


Layer = (
    Relu
    | Convolution
    | BatchNorm
    | Pool
    | Zero
    | Shift
    | DropPath
    | Dropout
    | GlobalAverage
    | Flatten
    | Linear
    | Parallel
    | TorchModule
)
Row = tuple[Layer, ...]
"""Layers in sequence; the empty row is the identity."""


def same_padding(size: int, extent: int, stride: int) -> tuple[int, int]:
    """Pixels that TensorFlow's SAME adds before and after an axis of `size` pixels."""
    missing = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return missing // 2, missing - missing // 2


def _size_after(size: Size, *, extent: tuple[int, int], stride: tuple[int, int], padding: Padding) -> Size:
    height, width = (
        (side - reach) // step + 1 if padding == "valid" else -(-side // step)
        for side, reach, step in zip(size, extent, stride, strict=True)
    )
    return height, width
