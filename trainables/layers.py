"""The layers that networks consist of, as values: what there is and what it costs. No torch.

`modules.py` turns them into modules, `costs.py` into numbers. Sizes are (height, width) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Size = tuple[int, int]
Padding = Literal["same", "symmetric", "valid"]
"""What surrounds an image. `same`: TensorFlow's SAME, as much as an output of size/stride needs, the odd pixel last;
`symmetric`: half of what the kernel reaches over, on each side; `valid`: nothing. With stride 1 and an odd kernel the
first two are one."""


@dataclass(frozen=True, slots=True)
class Relu:
    """max(0, x)."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution without bias. `kernel` and `stride` are (vertical, horizontal)."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    padding: Padding
    stride: tuple[int, int] = (1, 1)
    dilation: int = 1
    groups: int = 1

    @property
    def extent(self) -> tuple[int, int]:
        """Pixels that the kernel reaches over, vertically and horizontally."""
        height, width = (self.dilation * (size - 1) + 1 for size in self.kernel)
        return height, width

    @property
    def pads_first(self) -> bool:
        """Whether the sides get different padding, which depends on the image, so that it is padded beforehand."""
        return self.padding == "same" and any(
            step > 1 and reach > 1 for step, reach in zip(self.stride, self.extent, strict=True)
        )

    @property
    def own_padding(self) -> tuple[int, int]:
        """Pixels that the convolution itself adds above and below, and left and right."""
        if self.padding == "valid" or self.pads_first:
            return (0, 0)
        height, width = (reach // 2 for reach in self.extent)
        return height, width

    def first_padding(self, size: Size) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pixels to put above and below, and left and right of an image of this size, where `pads_first`."""
        vertical, horizontal = (
            same_padding(side, reach, step) for side, reach, step in zip(size, self.extent, self.stride, strict=True)
        )
        return vertical, horizontal

    @property
    def parameters(self) -> int:
        return self.out_channels * (self.in_channels // self.groups) * self.kernel[0] * self.kernel[1]

    def size_after(self, size: Size) -> Size:
        return _size_after(size, self.extent, self.stride, self.padding)


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
    """Max or average pooling by a square window; padding is never the maximum and never averaged."""

    kind: Literal["max", "average"]
    kernel: int
    stride: int
    padding: Padding

    def __post_init__(self) -> None:
        assert not (self.pads_first and self.kind == "average"), "no such pool is needed, and none is made"

    @property
    def pads_first(self) -> bool:
        """Whether the image gets a row and a column at its end beforehand, as for an even window with stride 1."""
        return self.padding == "same" and self.kernel % 2 == 0 and self.stride == 1

    def size_after(self, size: Size) -> Size:
        return _size_after(size, (self.kernel, self.kernel), (self.stride, self.stride), self.padding)


@dataclass(frozen=True, slots=True)
class Zero:
    """Zeros in the shape that an operation with this stride would give."""

    channels: int
    stride: int

    def size_after(self, size: Size) -> Size:
        return _size_after(size, (1, 1), (self.stride, self.stride), "same")


@dataclass(frozen=True, slots=True)
class Shift:
    """The image without its first row and column; an odd size is first padded by a row or column of zeros at the end.

    A stride of 2 then sees the pixels that it skips otherwise.
    """

    def size_after(self, size: Size) -> Size:
        height, width = (side + side % 2 - 1 for side in size)
        return height, width


@dataclass(frozen=True, slots=True)
class DropPath:
    """Drops all that an operation gave, image by image; `probability` is the one at the end of the training.

    ScheduledDropPath (Zoph et al. 2018, section 4): the probability grows linearly with the training's progress.
    """

    probability: float


@dataclass(frozen=True, slots=True)
class Dropout:
    """Drops features, each by itself."""

    probability: float


@dataclass(frozen=True, slots=True)
class GlobalAverage:
    """The mean over all pixels: [batch, channels, height, width] to [batch, channels]."""


@dataclass(frozen=True, slots=True)
class Flatten:
    """[batch, channels, height, width] to [batch, channels * height * width]."""


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
    """Rows of layers on the same input; what they give is added or concatenated."""

    rows: tuple[Row, ...]
    combination: Literal["add", "concat"]


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
)
Row = tuple[Layer, ...]
"""Layers one after the other; the empty row gives what it gets."""


def same_padding(size: int, extent: int, stride: int) -> tuple[int, int]:
    """Pixels that TensorFlow's SAME puts before and after an axis."""
    missing = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return missing // 2, missing - missing // 2


def _size_after(size: Size, extent: tuple[int, int], stride: tuple[int, int], padding: Padding) -> Size:
    height, width = (
        (side - reach) // step + 1 if padding == "valid" else -(-side // step)
        for side, reach, step in zip(size, extent, stride, strict=True)
    )
    return height, width
