"""Converts pretrained weights of timm, pytorchcv and pretrainedmodels to the tensor names of `CellNetwork`.

Knows how these libraries name the parts of their NASNet-A, PNASNet-5 and DARTS networks. Downloads nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec

Part = tuple[int | str, ...]
"""A part of a network, independent of its library: ("stem",), (cell, "input", 0 or 1), (cell, block, side) or
("head",). Only our networks may also have (cell, "output", place) and ("auxiliary",)."""

_CELL = re.compile(r"(?:features\.)?(cell_stem_\d+|reduction_cell_\d+|cell_\d+|stem\d_unit|stage\d+\.unit\d+)\.(.+)")
_EDGE = re.compile(r"comb(?:_iter_)?(\d+)_(left|right)\.")
_NUMBERED_EDGE = re.compile(r"body\.ops\.(\d+)\.")
_PREVIOUS = re.compile(r"conv_prev_1x1\.|conv1x1_prev\.|path|final_path_bn\.|preprocess_prev\.")
_CURRENT = re.compile(r"conv_?1x1\.|preprocess\.")
_TARGET_NAME = re.compile(r"cells\.(\d+)\.(inputs|blocks|outputs)\.(\d+)\.(?:(\d)\.)?")


def convert_weights(state: Mapping[str, Tensor], spec: NetworkSpec) -> dict[str, Tensor]:
    """Convert the weights of another library's network to a state dict of `CellNetwork(spec)`.

    The strided average pools of timm's `nasnetalarge` count zeros of the padding; those of `CellNetwork` do
    not. With these weights, its logits therefore differ slightly from timm's. They equal those of the original network,
    in which the weights were trained.

    Args:
        state: `state_dict()` of timm's `nasnetalarge` or `pnasnet5large`, of pytorchcv's `nasnet_4a1056`,
            `nasnet_6a4032`, `pnasnet5large` or `darts`, or of pretrainedmodels' networks of those names.
        spec: the spec of the same network, without an auxiliary head; `examples/pretrained.py` has those of timm's
            networks. `image_size` does not matter.

    Raises:
        ValueError: a part has different tensors in the two networks, so they are not the same network.
    """
    with torch.device("meta"):
        target = CellNetwork(spec).state_dict()
    sources_by_part, targets_by_part = _group_by_part(_source_parts(state)), _group_by_part(_target_parts(target))
    converted = {name: torch.zeros((), dtype=torch.long) for name in target if _is_counter(name)}
    for part in {**targets_by_part, **sources_by_part}:
        # Within a part, both networks list tensors in the order in which they are used.
        targets, sources = targets_by_part[part], sources_by_part[part]
        target_shapes, source_shapes = [target[name].shape for name in targets], [state[name].shape for name in sources]
        if target_shapes != source_shapes:
            raise ValueError(f"part {part} of the network {_describe_difference(target_shapes, source_shapes)}")
        converted |= {name: state[source] for name, source in zip(targets, sources, strict=True)}
    return {name: converted[name] for name in target}


def _describe_difference(targets: list[torch.Size], sources: list[torch.Size]) -> str:
    if len(targets) != len(sources):
        return f"has {len(targets)} tensors, but {len(sources)} in the weights to convert"
    target, source = next(pair for pair in zip(targets, sources, strict=True) if pair[0] != pair[1])
    return f"has a tensor of shape {tuple(target)}, but {tuple(source)} in the weights to convert"


def _source_parts(state: Mapping[str, Tensor]) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    cells: dict[str, int] = {}
    for name in state:
        part: Part | None = None
        if found := _CELL.match(name):
            part = _source_part(cells.get(found[1], len(cells)), found[2])
            if part is not None:
                cells.setdefault(found[1], len(cells))
        parts[name] = part or (("head",) if cells else ("stem",))
    return parts


def _source_part(cell: int, rest: str) -> Part | None:
    """The part of a cell, or None for a stem that is named like a cell."""
    if edge := _EDGE.match(rest):
        return (cell, int(edge[1]), ("left", "right").index(edge[2]))
    if edge := _NUMBERED_EDGE.match(rest):
        return (cell, *divmod(int(edge[1]), 2))
    if _PREVIOUS.match(rest):
        return (cell, "input", 0)
    return (cell, "input", 1) if _CURRENT.match(rest) else None


def _target_parts(state: Mapping[str, Tensor]) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for name in state:
        found = _TARGET_NAME.match(name)
        if found is None:
            parts[name] = (name.split(".")[0],)
        elif found[2] == "blocks":
            parts[name] = (int(found[1]), int(found[3]), int(found[4]))
        else:
            parts[name] = (int(found[1]), found[2].removesuffix("s"), int(found[3]))
    return parts


def _group_by_part(parts: Mapping[str, Part]) -> dict[Part, list[str]]:
    names: dict[Part, list[str]] = defaultdict(list)
    for name, part in parts.items():
        if not _is_counter(name):
            names[part].append(name)
    return names


def _is_counter(name: str) -> bool:
    """Whether the tensor counts the batches of a batch norm. Old weights lack it, and our networks do not use it."""
    return name.endswith("num_batches_tracked")
