"""Heads: the layers from the feature maps of a network's stages to its outputs. No torch.

`classifier` gives one vector for each image. The others are decoders, which give one for each pixel: `fcn` from the
last stage alone (Long et al. 2015), `skip` from all stages, each of which is added to what comes from the coarser ones
(as in feature pyramids, Lin et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainables.layers import Convolution, Dropout, GlobalPool, Linear, Relu, Resize, Row, Shape, Size
from trainables.network_spec import NetworkSpec
from trainables.operations import batch_norm, pointwise
from trainables.plugins import import_plugin, is_plugin_name


@dataclass(frozen=True)
class Stage:
    """All states of one resolution. The last of them is the output of the stage."""

    last: int
    """Index of the last state in the chain of the stem's and the cells' outputs, from 0."""
    shape: Shape
    """Shape of the last state."""


@dataclass(frozen=True)
class Join:
    """Resizes what comes from the coarser stages to the size of a stage, and adds the stage's output after a row."""

    stage: int
    """Index of the stage's output in the chain of the stem's and the cells' outputs."""
    size: Size
    """Of the stage, in pixels."""
    lateral: Row
    """Layers from the stage's output to the channels of what comes from the coarser ones."""


@dataclass(frozen=True)
class Head:
    """The layers from the stages to the outputs."""

    first: Row
    """From the output of the last stage."""
    joins: tuple[Join, ...] = ()
    """With finer stages, from the coarsest to the finest."""
    output: Row = ()
    """From there to the outputs."""


def plan_head(spec: NetworkSpec, stages: Sequence[Stage]) -> Head:
    """Plan the head that the spec names, on stages from the finest to the coarsest.

    Raises:
        ValueError: there is no such head, or the spec has an auxiliary head beside a decoder.
    """
    if spec.head in HEADS:
        make = HEADS[spec.head]
    elif is_plugin_name(spec.head):
        make = import_plugin(spec.head)
    else:
        raise ValueError(f"head is {spec.head!r}; known: {', '.join(HEADS)}, or 'module:NAME'")
    if spec.auxiliary_head and spec.head != CLASSIFIER:
        raise ValueError(
            f"an auxiliary head needs the head {CLASSIFIER!r}, not {spec.head!r}; set training.auxiliary_weight = 0"
        )
    return make(spec, stages)


def _classifier(spec: NetworkSpec, stages: Sequence[Stage]) -> Head:
    channels = stages[-1].shape.channels
    linear = Linear(channels, spec.classes, spec.skeleton.classifier_bias)
    pooling = GlobalPool(spec.skeleton.pooling)
    return Head((*_before(spec, channels), pooling, *_dropout(spec), linear))


def _fcn(spec: NetworkSpec, stages: Sequence[Stage]) -> Head:
    """torchvision's `FCNHead`: a 3x3 convolution to a quarter of the channels."""
    channels = stages[-1].shape.channels
    width = max(1, channels // 4)
    return Head((*_before(spec, channels), *_convolution(spec, channels, width), *_per_pixel(spec, width)))


def _skip(spec: NetworkSpec, stages: Sequence[Stage]) -> Head:
    """The stages are projected to F channels and added; then a 3x3 convolution at the finest resolution."""
    *finer, last = stages
    width, rules = spec.filters, spec.skeleton.operations
    joins = [
        Join(stage.last, stage.shape.size, (Relu(), *pointwise(stage.shape.channels, width, rules)))
        for stage in reversed(finer)
    ]
    channels = last.shape.channels
    return Head(
        (*_before(spec, channels), *pointwise(channels, width, rules)),
        tuple(joins),
        (Relu(), *_convolution(spec, width, width), *_per_pixel(spec, width)),
    )


def _before(spec: NetworkSpec, channels: int) -> Row:
    """The layers of the skeleton after its last cell."""
    before: dict[str, Row] = {
        "relu": (Relu(),),
        "batch_norm_relu": (batch_norm(channels, spec.skeleton.operations), Relu()),
        "nothing": (),
    }
    return before[spec.skeleton.before_pooling]


def _convolution(spec: NetworkSpec, in_channels: int, out_channels: int) -> Row:
    rules = spec.skeleton.operations
    return (Convolution(in_channels, out_channels, 3, padding="same"), batch_norm(out_channels, rules), Relu())


def _per_pixel(spec: NetworkSpec, channels: int) -> Row:
    """The classifier of each pixel, enlarged to the size of the image."""
    classifier = Convolution(channels, spec.classes, 1, padding="same", bias=True)
    return (*_dropout(spec), classifier, Resize(spec.image_size))


def _dropout(spec: NetworkSpec) -> Row:
    return (Dropout(spec.dropout),) if spec.dropout else ()


CLASSIFIER = "classifier"
HEADS: dict[str, Callable[[NetworkSpec, Sequence[Stage]], Head]] = {
    CLASSIFIER: _classifier,
    "fcn": _fcn,
    "skip": _skip,
}
"""By their names in a network and, for decoders, in a search file."""
