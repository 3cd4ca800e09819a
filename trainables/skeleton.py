"""The rules by which cells become a network, as values: what papers and their code differ in. No torch.

Two families: TensorFlow's (NASNet, PNASNet, AmoebaNet, ENAS: TF-slim `nasnet.py`, tensorflow/tpu `amoeba_net`,
melodyguan/enas `micro_child.py`) and DARTS' (quark0/darts `model.py`); and NAS-Bench-201's. The defaults are
NASNET_CIFAR's; the others are written as differences from it or from one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

LEAST: dict[str, tuple[float, Any]] = {
    "batch_norm_epsilon": (1e-12, (int, float)),
    "batch_norm_momentum": (0.0, (int, float)),
    "stem_multiplier": (0.5, (int, float)),
    "stem_channels": (2, int),
    "stem_cells": (0, int),
    "pool_stride": (1, int),
}
"""Bounds of the rules that are numbers, and what kind of number."""


def _check_rules(rules: object) -> None:
    """Refuse a value that a rule does not have, which would silently be taken for another."""
    for name, kind in get_type_hints(type(rules)).items():
        value = getattr(rules, name)
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise ValueError(f"{name} is {value!r}; known: {', '.join(get_args(kind))}")
        if name in LEAST and value is not None:
            least, number = LEAST[name]
            if isinstance(value, bool) or not isinstance(value, number) or value < least:
                raise ValueError(f"{name} is {value!r}; a number of at least {least} is needed")


@dataclass(frozen=True, kw_only=True)
class OperationRules:
    """What decides the inside of an operation.

    Args:
        padding: `same`: TensorFlow's SAME, which with stride 2 is asymmetric; `symmetric`: half of what the kernel
            reaches over, on each side.
        batch_norm_epsilon, batch_norm_momentum: as in PyTorch (momentum = 1 - TensorFlow's decay).
        strided_identity: identity with stride 2. `pointwise`: ReLU, 1x1 convolution, batch norm; `factorized`: two 1x1
            convolutions, the second one pixel further, concatenated, batch norm; `relu_factorized`: a ReLU before that.
        wide_convolutions: `conv_3x3` and the pairs. `full`: on all filters; `bottlenecked`: between two 1x1
            convolutions, on a quarter of the filters (1x3 then 3x1: three eighths).
        pairs: 1x3 then 3x1, and 1x7 then 7x1. `separate`: each with its ReLU and batch norm; `joined`: one ReLU, one
            batch norm.
        dilated_convolutions: `dil_conv`. `dense`: ReLU, convolution, batch norm; `separable`: depthwise then pointwise,
            once.

    Raises:
        ValueError: a rule's value is not one of those listed.
    """

    padding: Literal["same", "symmetric"] = "same"
    batch_norm_epsilon: float = 1e-5
    batch_norm_momentum: float = 0.1
    strided_identity: Literal["pointwise", "factorized", "relu_factorized"] = "pointwise"
    wide_convolutions: Literal["full", "bottlenecked"] = "full"
    pairs: Literal["separate", "joined"] = "separate"
    dilated_convolutions: Literal["dense", "separable"] = "dense"

    def __post_init__(self) -> None:
        _check_rules(self)


@dataclass(frozen=True, kw_only=True)
class AuxiliaryRules:
    """A second classifier in the middle, for training only.

    ReLU, 5x5 average pool, 1x1 convolution to 128 channels, one of the whole remaining size to 768, linear; each
    convolution with batch norm and ReLU. (ENAS' own averages over a convolution that keeps the size; this is not done.)

    Args:
        offset: the cell after which it stands, counted from the last reduction cell: -1 is the one before it. At most
            the last cell.
        pool_stride: stride of the 5x5 average pool.
        second_norm: whether the second convolution, too, is followed by batch norm.
    """

    offset: int = -1
    pool_stride: int = 3
    second_norm: bool = True

    def __post_init__(self) -> None:
        _check_rules(self)


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """Macro rules: stem, order of the cells, what a cell does with its inputs, ends.

    Args:
        about: where the rules come from.
        operations: rules inside the operations.
        stem: `convolution`: 3x3 and batch norm; `strided`: the same with stride 2 and no padding; `three_strided`:
            three 3x3 convolutions of stride 2, batch norm each, a ReLU before all but the first, the last two of them
            states.
        stem_multiplier: channels of the stem in multiples of F, if they are not stated:
        stem_channels: channels of the stem, or None.
        stem_cells: reduction cells that belong to the stem, with F/4 and F/2 filters where there are two.
        reduction_replaces_normal: a reduction cell is one of its stage's N cells, rather than one more between stages.
        first_previous: state 0 of the first cell, which has no k-2: `raw`: the stem as it is; `matched`: the stem,
            brought to F channels as any other state 0.
        previous_projection: the output of cell k-2 of another resolution is brought to the cell's width by ReLU and a
            factorised reduction; one of the same resolution by ReLU, 1x1 convolution and batch norm: `where_needed`,
            that is where its width differs, or `always`.
        current_projection: the output of cell k-1 is brought to the cell's width by ReLU, 1x1 convolution and batch
            norm: `always`; `twice`: once more before that where its width differs; `never`.
        skip_reduction_input: the first cell after a reduction cell (not after the stem's) reads as its state 0 what
            that cell read as its state 0, rather than as its state 1 (TF-slim `skip_reduction_layer_input`).
        before_pooling: what precedes the global average pool: `relu`, `batch_norm_relu` or `nothing`.
        classifier_bias: whether the classifier has a bias.
        drop_path_by_depth: the probability of drop path grows with the depth; otherwise all cells have the same.
        drop_path_on_strided_identity: drop path spares identities, but not those that halve the resolution.
        auxiliary: the auxiliary head.

    Raises:
        ValueError: a rule's value is not one of those listed.
    """

    about: str
    operations: OperationRules = OperationRules()
    stem: Literal["convolution", "strided", "three_strided"] = "convolution"
    stem_multiplier: float = 3
    stem_channels: int | None = None
    stem_cells: int = 0
    reduction_replaces_normal: bool = False
    first_previous: Literal["raw", "matched"] = "raw"
    previous_projection: Literal["where_needed", "always"] = "where_needed"
    current_projection: Literal["always", "twice", "never"] = "always"
    skip_reduction_input: bool = False
    before_pooling: Literal["relu", "batch_norm_relu", "nothing"] = "relu"
    classifier_bias: bool = True
    drop_path_by_depth: bool = True
    drop_path_on_strided_identity: bool = False
    auxiliary: AuxiliaryRules = AuxiliaryRules()

    def __post_init__(self) -> None:
        _check_rules(self)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Skeleton:
        """Inverse of `to_json`; KeyError or TypeError for what is none."""
        operations = OperationRules(**value["operations"])
        return cls(**{**value, "operations": operations, "auxiliary": AuxiliaryRules(**value["auxiliary"])})


# The defaults are this skeleton's.
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
}
"""Every skeleton that a search file may name."""
