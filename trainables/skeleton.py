"""Rules for building a network from cells, as values: what differs between papers and their code. No torch.

There are two families, TensorFlow's (NASNet, PNASNet, AmoebaNet, ENAS: TF-slim `nasnet.py`, tensorflow/tpu
`amoeba_net`, melodyguan/enas `micro_child.py`) and DARTS' (quark0/darts `model.py`), and NAS-Bench-201. The defaults
are those of NASNET_CIFAR; the other skeletons are defined by their differences from it or from one another.

Knows rules and their allowed values. Does not know layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

MIN_VALUES: dict[str, tuple[float, Any]] = {
    "batch_norm_epsilon": (1e-12, (int, float)),
    "batch_norm_momentum": (0.0, (int, float)),
    "stem_multiplier": (0.5, (int, float)),
    "stem_channels": (2, int),
    "stem_cells": (0, int),
    "stages": (1, int),
    "pool_stride": (1, int),
}
"""Lower bounds and types of the rules that are numbers."""


def _check_rules(rules: object) -> None:
    """Raise ValueError for an unknown value, which would otherwise silently act as another one."""
    for name, kind in get_type_hints(type(rules)).items():
        value = getattr(rules, name)
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise ValueError(f"{name} is {value!r}; known: {', '.join(get_args(kind))}")
        if name in MIN_VALUES and value is not None:
            minimum, number = MIN_VALUES[name]
            if isinstance(value, bool) or not isinstance(value, number) or value < minimum:
                raise ValueError(f"{name} is {value!r}; a number of at least {minimum} is needed")


@dataclass(frozen=True, kw_only=True)
class OperationRules:
    """Rules for the layers inside operations.

    Raises:
        ValueError: a value is not one of those listed, or below its bound in `MIN_VALUES`.
    """

    padding: Literal["same", "symmetric"] = "same"
    """`same`: TensorFlow's SAME, which is asymmetric with stride 2; `symmetric`: half of the kernel's extent on each
    side."""
    batch_norm_epsilon: float = 1e-5
    """As in PyTorch."""
    batch_norm_momentum: float = 0.1
    """As in PyTorch: 1 - TensorFlow's decay."""
    strided_identity: Literal["pointwise", "factorized", "relu_factorized"] = "pointwise"
    """Identity with stride 2. `pointwise`: ReLU, 1x1 convolution, batch norm; `factorized`: two 1x1 convolutions, the
    second shifted by one pixel, concatenated, then batch norm; `relu_factorized`: the same after a ReLU."""
    wide_convolutions: Literal["full", "bottlenecked"] = "full"
    """`conv_3x3` and the pairs. `full`: on all filters; `bottlenecked`: between two 1x1 convolutions, on a quarter of
    the filters (1x3 then 3x1: three eighths)."""
    pairs: Literal["separate", "joined"] = "separate"
    """1x3 then 3x1, and 1x7 then 7x1. `separate`: a ReLU and a batch norm for each; `joined`: one ReLU and one batch
    norm for both."""
    dilated_convolutions: Literal["dense", "separable"] = "dense"
    """`dil_conv`. `dense`: ReLU, convolution, batch norm; `separable`: depthwise then pointwise, once."""

    def __post_init__(self) -> None:
        _check_rules(self)


@dataclass(frozen=True, kw_only=True)
class AuxiliaryRules:
    """Rules for the auxiliary head: a second classifier on an intermediate cell, for training only.

    ReLU, 5x5 average pool, 1x1 convolution to 128 channels, convolution over the whole remaining size to 768 channels,
    linear layer; each convolution has batch norm and ReLU. (ENAS' head differs: it averages over a convolution that
    keeps the size. That is not implemented.)

    Raises:
        ValueError: `pool_stride` is below 1.
    """

    offset: int = -1
    """The cell that the head reads, counted from the last reduction cell: -1 is the cell before it. At least the first
    and at most the last cell of the network."""
    pool_stride: int = 3
    """Stride of the 5x5 average pool."""
    second_norm: bool = True
    """Whether batch norm also follows the second convolution."""

    def __post_init__(self) -> None:
        _check_rules(self)


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """Macro rules: the stem, the order of cells, how a cell reads its inputs, and the head.

    Raises:
        ValueError: a value is not one of those listed, or below its bound in `MIN_VALUES`.
    """

    about: str
    """Source of the rules."""
    operations: OperationRules = OperationRules()
    """Rules inside the operations."""
    stem: Literal["convolution", "strided", "three_strided"] = "convolution"
    """`convolution`: 3x3 and batch norm; `strided`: the same with stride 2 and no padding; `three_strided`: three 3x3
    convolutions of stride 2, each with batch norm, and a ReLU before all but the first; the outputs of the last two
    are states."""
    stem_multiplier: float = 3
    """Channels of the stem as a multiple of F, if `stem_channels` is None."""
    stem_channels: int | None = None
    """Channels of the stem, or None for `stem_multiplier` times F."""
    stem_cells: int = 0
    """Number of reduction cells in the stem; two have F/4 and F/2 filters."""
    stages: int = 3
    """Number of resolutions, each with N normal cells. A reduction cell begins every one but the first."""
    reduction_replaces_normal: bool = False
    """Whether a reduction cell is one of its stage's N cells, rather than an additional cell between stages."""
    first_previous: Literal["raw", "matched"] = "raw"
    """State 0 of the first cell, which has no k-2. `raw`: the stem's output unchanged; `matched`: the stem's output,
    projected to F channels like any other state 0."""
    previous_projection: Literal["where_needed", "always"] = "where_needed"
    """When ReLU, 1x1 convolution and batch norm project the output of cell k-2 to the cell's width: `where_needed` (its
    width differs) or `always`. If its resolution differs, ReLU and a factorised reduction always do so instead."""
    current_projection: Literal["always", "twice", "never"] = "always"
    """Whether ReLU, 1x1 convolution and batch norm project the output of cell k-1 to the cell's width: `always`;
    `twice` (once if it already has this width); `never`."""
    skip_reduction_input: bool = False
    """Whether the first cell after a reduction cell (not after the stem's) takes as its state 0 the reduction cell's
    state 0, rather than its state 1 (TF-slim `skip_reduction_layer_input`)."""
    before_pooling: Literal["relu", "batch_norm_relu", "nothing"] = "relu"
    """Layers before the global pooling."""
    pooling: Literal["average", "max"] = "average"
    """The global pooling before the classifier."""
    classifier_bias: bool = True
    """Whether the classifier has a bias."""
    drop_path_by_depth: bool = True
    """Whether the probability of drop path grows with the depth; otherwise it is the same in all cells."""
    drop_path_on_strided_identity: bool = False
    """Whether drop path also drops identities of stride 2; it never drops identities of stride 1."""
    auxiliary: AuxiliaryRules = AuxiliaryRules()
    """Rules for the auxiliary head."""

    def __post_init__(self) -> None:
        _check_rules(self)

    @property
    def reduces(self) -> bool:
        """Whether its networks have reduction cells."""
        return self.stages > 1 or self.stem_cells > 0

    def to_json(self) -> dict[str, Any]:
        """All rules, nested as in the fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Skeleton:
        """Inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: the value does not have that form.
        """
        operations = OperationRules(**value["operations"])
        return cls(**{**value, "operations": operations, "auxiliary": AuxiliaryRules(**value["auxiliary"])})


NASNET_CIFAR = Skeleton(about="NASNet on CIFAR (Zoph et al. 2018, figure 2; TF-slim build_nasnet_cifar)")

_IMAGENET_OPERATIONS = OperationRules(batch_norm_epsilon=1e-3, batch_norm_momentum=3e-4)

NASNET_MOBILE = replace(
    NASNET_CIFAR,
    about="NASNet on ImageNet, mobile: N=4, F=44, 224 pixels (TF-slim build_nasnet_mobile)",
    operations=_IMAGENET_OPERATIONS,
    stem="strided",
    stem_channels=32,
    stem_cells=2,
)

NASNET_LARGE = replace(
    NASNET_MOBILE,
    about="NASNet on ImageNet, large: N=6, F=168, 331 pixels (TF-slim build_nasnet_large)",
    stem_channels=96,
    skip_reduction_input=True,
)

PNASNET_CIFAR = replace(
    NASNET_CIFAR,
    about="PNASNet on CIFAR: the cell itself strides, in place of a normal cell (Liu et al. 2018, figure 1)",
    reduction_replaces_normal=True,
)

PNASNET_MOBILE = replace(
    NASNET_MOBILE,
    about="PNASNet on ImageNet, mobile: N=3, F=54, 224 pixels (TF-slim build_pnasnet_mobile)",
    reduction_replaces_normal=True,
)

PNASNET_LARGE = replace(
    PNASNET_MOBILE,
    about="PNASNet on ImageNet, large: N=4, F=216, 331 pixels (TF-slim build_pnasnet_large)",
    stem_channels=96,
)

AMOEBANET_CIFAR = replace(
    NASNET_CIFAR,
    about="AmoebaNet on CIFAR (tensorflow/tpu amoeba_net, with the stem of CIFAR)",
    operations=OperationRules(wide_convolutions="bottlenecked"),
)

AMOEBANET_IMAGENET = replace(
    NASNET_MOBILE,
    about="AmoebaNet on ImageNet (tensorflow/tpu amoeba_net)",
    operations=replace(_IMAGENET_OPERATIONS, wide_convolutions="bottlenecked"),
)

ENAS_CIFAR = replace(
    NASNET_CIFAR,
    about="ENAS on CIFAR, N=5, F=36 (melodyguan/enas micro_child.py)",
    operations=OperationRules(strided_identity="factorized"),
    first_previous="matched",
    current_projection="twice",
    classifier_bias=False,
    auxiliary=AuxiliaryRules(offset=1),
)

DARTS_CIFAR = Skeleton(
    about="DARTS on CIFAR: 3N+2 layers, N=6, F=36 (quark0/darts NetworkCIFAR; NDS)",
    operations=OperationRules(
        padding="symmetric", strided_identity="relu_factorized", pairs="joined", dilated_convolutions="separable"
    ),
    first_previous="matched",
    previous_projection="always",
    before_pooling="nothing",
    drop_path_by_depth=False,
    drop_path_on_strided_identity=True,
    auxiliary=AuxiliaryRules(offset=0),
)

DARTS_IMAGENET = replace(
    DARTS_CIFAR,
    about="DARTS on ImageNet: 3N+2 layers, N=4, F=48, 224 pixels (quark0/darts NetworkImageNet)",
    stem="three_strided",
    stem_multiplier=1,
    auxiliary=AuxiliaryRules(offset=0, pool_stride=2, second_norm=False),
)

NAS_BENCH_201 = Skeleton(
    about="NAS-Bench-201: N=5, F=16 (Dong and Yang 2020, section 2.1)",
    operations=OperationRules(padding="symmetric"),
    stem_multiplier=1,
    current_projection="never",
    before_pooling="batch_norm_relu",
)

TEXT = replace(
    NASNET_CIFAR,
    about="Texts: normal cells of one resolution, then the maximum over the text (as Kim 2014, section 2)",
    stages=1,
    pooling="max",
)

SKELETONS: dict[str, Skeleton] = {
    "nasnet_cifar": NASNET_CIFAR,
    "nasnet_mobile": NASNET_MOBILE,
    "nasnet_large": NASNET_LARGE,
    "pnasnet_cifar": PNASNET_CIFAR,
    "pnasnet_mobile": PNASNET_MOBILE,
    "pnasnet_large": PNASNET_LARGE,
    "amoebanet_cifar": AMOEBANET_CIFAR,
    "amoebanet_imagenet": AMOEBANET_IMAGENET,
    "enas_cifar": ENAS_CIFAR,
    "darts_cifar": DARTS_CIFAR,
    "darts_imagenet": DARTS_IMAGENET,
    "nas_bench_201": NAS_BENCH_201,
    "text": TEXT,
}
"""Skeletons that a search file may name."""
