"""The layers of networks, as values: their settings, parameters and output sizes. Does not know torch.

`modules.py` builds them and `costs.py` counts them. The same layers are for images, whose size has two axes, and for
sequences, whose size has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, get_args

Size = tuple[int, ...]
"""One length per axis: (height, width) of an image in pixels, (length,) of a sequence in steps. A step is also called a
pixel below."""
PerAxis = int | tuple[int, ...]
"""One value for every axis, however many there are, or one for each: (vertical, horizontal)."""
PADDING, UNKNOWN = 0, 1
"""The tokens that fill a text up to the network's length, and that stand for what is not in the vocabulary."""
Padding = Literal["same", "symmetric", "valid"]
"""How an image is padded. `same`: TensorFlow's SAME, as much as an output of size/stride needs, the odd pixel last;
`symmetric`: half of the kernel's extent on each side; `valid`: not at all. With stride 1 and an odd kernel, `same` and
`symmetric` are equal."""


PoolKind = Literal["max", "average"]
Combination = Literal["add", "concat"]


@dataclass(frozen=True)
class Shape:
    """The shape of a state.

    Resolutions are compared by `stride`, so that a network's weights do not depend on the image size, except those
    of an auxiliary head.
    """

    channels: int
    size: Size
    """In pixels."""
    stride: int
    """The product of all strides since the image."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """A vector for each token: [batch, length] to [batch, channels, length]. The vector of `PADDING` is zero.

    Raises:
        ValueError: a value is out of its range.
    """

    tokens: int
    """Number of different tokens, with `PADDING` and `UNKNOWN`."""
    channels: int
    """Numbers of a vector."""
    dropout: float = 0.0
    """Probability of replacing a token by `UNKNOWN` in training, which so gets a vector too."""

    def __post_init__(self) -> None:
        for name, minimum in (("tokens", 2), ("channels", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < minimum:
                raise ValueError(f"{name} of an embedding is {value!r}; a whole number of at least {minimum} is needed")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout of an embedding is {self.dropout}; it must be at least 0 and below 1")

    @property
    def parameters(self) -> int:
        return self.tokens * self.channels


@dataclass(frozen=True, slots=True)
class Relu:
    """max(0, x)."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution, by default without bias.

    Raises:
        ValueError: with symmetric padding the kernel, as it is spread by the dilation, spans an even number of pixels.
    """

    in_channels: int
    out_channels: int
    kernel: PerAxis
    _: KW_ONLY
    padding: Padding
    stride: PerAxis = 1
    dilation: int = 1
    groups: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        _check_word("padding of a convolution", self.padding, Padding)
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(
                    f"a convolution has {name} = {getattr(self, name)} and groups = {self.groups}; the groups must "
                    "divide the channels"
                )
        if self.padding == "symmetric" and any(reach % 2 == 0 for reach in self.extent(self.axes or 1)):
            raise ValueError(
                f"a convolution with the kernel {self.kernel} and the dilation {self.dilation} spans an even number of "
                "pixels, which symmetric padding cannot centre; use an odd kernel, or padding = 'same'"
            )

    @property
    def axes(self) -> int | None:
        """The number of axes that the layer is for; None: any, because kernel and stride are the same along each."""
        return next((len(values) for values in (self.kernel, self.stride) if isinstance(values, tuple)), None)

    def extent(self, axes: int) -> tuple[int, ...]:
        """Pixels that the kernel spans along each axis."""
        return tuple(self.dilation * (side - 1) + 1 for side in along_axes(self.kernel, axes))

    @property
    def pads_first(self) -> bool:
        """Whether a separate step pads the image first: opposite sides may need different padding, given its size."""
        axes = self.axes or 1
        steps = zip(along_axes(self.stride, axes), self.extent(axes), strict=True)
        return self.padding == "same" and any((step > 1 and reach > 1) or reach % 2 == 0 for step, reach in steps)

    def own_padding(self, axes: int) -> tuple[int, ...]:
        """Pixels that the convolution itself adds along each axis, at its beginning and at its end."""
        if self.padding == "valid" or self.pads_first:
            return (0,) * axes
        return tuple(reach // 2 for reach in self.extent(axes))

    def first_padding(self, size: Size) -> tuple[tuple[int, int], ...]:
        """Pixels to add before and after each axis of an image of this size first, if `pads_first`."""
        axes = len(size)
        places = zip(size, self.extent(axes), along_axes(self.stride, axes), strict=True)
        return tuple(same_padding(side, reach, step) for side, reach, step in places)

    def parameters(self, axes: int) -> int:
        """Number of parameters of the layer for this many axes."""
        return self.weights(axes) + self.bias * self.out_channels

    def weights(self, axes: int) -> int:
        """Number of weights of the layer for this many axes, without the biases."""
        return self.out_channels * (self.in_channels // self.groups) * math.prod(along_axes(self.kernel, axes))

    def size_after(self, size: Size) -> Size:
        return _size_after(size, extent=self.extent(len(size)), stride=self.stride, padding=self.padding)


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
    """Max or average pooling by a window of the same side along every axis, which ignores padding."""

    kind: PoolKind
    kernel: int
    _: KW_ONLY
    stride: int
    padding: Padding

    def __post_init__(self) -> None:
        _check_word("kind of a pool", self.kind, PoolKind)
        _check_word("padding of a pool", self.padding, Padding)
        assert not (self.pads_first and self.kind == "average"), "average pools of even windows need stride > 1"

    @property
    def pads_first(self) -> bool:
        """Whether a separate step first pads a pixel at the end of each axis: an even window with stride 1 needs it."""
        return self.padding == "same" and self.kernel % 2 == 0 and self.stride == 1

    def size_after(self, size: Size) -> Size:
        return _size_after(size, extent=self.kernel, stride=self.stride, padding=self.padding)


@dataclass(frozen=True, slots=True)
class Zero:
    """Zeros in the output shape of an operation with this stride."""

    channels: int
    stride: int

    def size_after(self, size: Size) -> Size:
        return _size_after(size, extent=1, stride=self.stride, padding="same")


@dataclass(frozen=True, slots=True)
class Shift:
    """Drops the first pixel of each axis; an odd axis is first padded by a zero at its end.

    A following stride of 2 then reads the pixels that it would otherwise skip.
    """

    def size_after(self, size: Size) -> Size:
        return tuple(side + side % 2 - 1 for side in size)


@dataclass(frozen=True, slots=True)
class Resize:
    """Resizes to this size, bilinearly, with the corners of the outer pixels in place (`align_corners=False`)."""

    size: Size


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
class GlobalPool:
    """Mean or maximum over all pixels: [batch, channels, *size] to [batch, channels]."""

    kind: PoolKind


@dataclass(frozen=True, slots=True)
class Flatten:
    """Reshapes [batch, channels, *size] to [batch, all values]."""


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
    combination: Combination

    def __post_init__(self) -> None:
        _check_word("combination of a Parallel", self.combination, Combination)
        for row in self.rows:
            if not isinstance(row, tuple):
                raise TypeError(f"a row of a Parallel is {row!r}; each row is a tuple of layers")


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchModule:
    """A PyTorch module of the user's own, with its costs, which nothing here can compute.

    It maps [n, in_channels, *size] to [n, channels, *size / stride], rounded up. It must neither change nor return its
    input, which other layers read too.
    """

    make: Callable[[], Any]
    """Returns the `torch.nn.Module`. Only workers call it, so it should import torch itself."""
    channels: int
    """Channels of the output."""
    stride: int = 1
    parameters: int
    """Trainable parameters; compared with the module's when it is made."""
    macs: Callable[[Size], int]
    """Multiply-adds for one image of this size at inference."""
    activation_bytes: Callable[[Size], int]
    """Bytes that the module keeps per image of this size for the backward pass in float32, with its input if it needs
    that."""

    def __post_init__(self) -> None:
        for name in ("make", "macs", "activation_bytes"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} of a TorchModule is {getattr(self, name)!r}; it must be a function")

    def size_after(self, size: Size) -> Size:
        return _size_after(size, extent=1, stride=self.stride, padding="same")


Layer = (
    Embedding
    | Relu
    | Convolution
    | BatchNorm
    | Pool
    | Zero
    | Shift
    | Resize
    | DropPath
    | Dropout
    | GlobalPool
    | Flatten
    | Linear
    | Parallel
    | TorchModule
)
Row = tuple[Layer, ...]
"""Layers in sequence; the empty row is the identity."""


def _check_word(name: str, word: str, known: Any) -> None:
    if word not in get_args(known):
        raise ValueError(f"{name} is {word!r}; known: {', '.join(get_args(known))}")


def along_axes(value: PerAxis, axes: int) -> tuple[int, ...]:
    """One value for each axis.

    Raises:
        ValueError: there are values for another number of axes.
    """
    values = (value,) * axes if isinstance(value, int) else value
    if len(values) != axes:
        raise ValueError(f"a layer with the kernel or stride {values} is for {len(values)} axes; the data has {axes}")
    return values


def same_padding(size: int, extent: int, stride: int) -> tuple[int, int]:
    """Pixels that TensorFlow's SAME adds before and after an axis of `size` pixels."""
    missing = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return missing // 2, missing - missing // 2


def _size_after(size: Size, *, extent: PerAxis, stride: PerAxis, padding: Padding) -> Size:
    places = zip(size, along_axes(extent, len(size)), along_axes(stride, len(size)), strict=True)
    return tuple((side - reach) // step + 1 if padding == "valid" else -(-side // step) for side, reach, step in places)
