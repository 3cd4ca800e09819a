"""Weights of timm, pytorchcv and pretrainedmodels, renamed to ours, so that a training can start from pretrained cells.

Knows how those libraries name the parts of their NASNet-A, PNASNet-5 and DARTS networks. Downloads nothing.
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
"""A part of a network, whoever names it: ("stem",), (cell, "input", 0 or 1), (cell, block, side), ("head",); and with
us perhaps (cell, "output", place) and ("auxiliary",), which those networks do not have."""

_CELL = re.compile(r"(?:features\.)?(cell_stem_\d+|reduction_cell_\d+|cell_\d+|stem\d_unit|stage\d+\.unit\d+)\.(.+)")
_EDGE = re.compile(r"comb(?:_iter_)?(\d+)_(left|right)\.")
_NUMBERED_EDGE = re.compile(r"body\.ops\.(\d+)\.")
_PREVIOUS = re.compile(r"conv_prev_1x1\.|conv1x1_prev\.|path|final_path_bn\.|preprocess_prev\.")
_CURRENT = re.compile(r"conv_?1x1\.|preprocess\.")
_OURS = re.compile(r"cells\.(\d+)\.(inputs|blocks|outputs)\.(\d+)\.(?:(\d)\.)?")


def convert_weights(state: Mapping[str, Tensor], spec: NetworkSpec) -> dict[str, Tensor]:
    """The state dict of `CellNetwork(spec)` with the values of another library's network.

    Args:
        state: `state_dict()` of timm's `nasnetalarge` or `pnasnet5large`, of pytorchcv's `nasnet_4a1056`,
            `nasnet_6a4032`, `pnasnet5large` or `darts`, or of pretrainedmodels' networks of those names.
        spec: the same network as ours, without an auxiliary head; `examples/pretrained.py` has timm's. `image_size`
            does not matter.

    timm's `nasnetalarge` averages zeros of the padding in its strided average pools, so with its weights the logits
    here differ a little from timm's, and are those of the network that the weights were trained in.

    Raises:
        ValueError: a part of the network has other tensors there than here, so the two are not the same network.
    """
    with torch.device("meta"):
        ours = CellNetwork(spec).state_dict()
    theirs_by_part, ours_by_part = _by_part(_their_parts(state)), _by_part(_our_parts(ours))
    converted = {name: torch.zeros((), dtype=torch.long) for name in ours if _is_counter(name)}
    for part in {**ours_by_part, **theirs_by_part}:
        # Within a part, tensors come in the order in which they are used, here and there.
        here, there = ours_by_part[part], theirs_by_part[part]
        ours_shapes, their_shapes = [ours[name].shape for name in here], [state[name].shape for name in there]
        if ours_shapes != their_shapes:
            raise ValueError(f"part {part} of the network {_difference(ours_shapes, their_shapes)}")
        converted |= {name: state[source] for name, source in zip(here, there, strict=True)}
    return {name: converted[name] for name in ours}


def _difference(here: list[torch.Size], there: list[torch.Size]) -> str:
    if len(here) != len(there):
        return f"has {len(here)} tensors, and {len(there)} in the weights to convert"
    ours, theirs = next(pair for pair in zip(here, there, strict=True) if pair[0] != pair[1])
    return f"has a tensor of shape {tuple(ours)}, and {tuple(theirs)} in the weights to convert"


def _their_parts(state: Mapping[str, Tensor]) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    cells: dict[str, int] = {}
    for name in state:
        part: Part | None = None
        if found := _CELL.match(name):
            part = _their_part(cells.get(found[1], len(cells)), found[2])
            if part is not None:
                cells.setdefault(found[1], len(cells))
        parts[name] = part or (("head",) if cells else ("stem",))
    return parts


def _their_part(cell: int, rest: str) -> Part | None:
    """The part of a cell, or None where a stem, although it is named as a unit, is none."""
    if edge := _EDGE.match(rest):
        return (cell, int(edge[1]), ("left", "right").index(edge[2]))
    if edge := _NUMBERED_EDGE.match(rest):
        return (cell, *divmod(int(edge[1]), 2))
    if _PREVIOUS.match(rest):
        return (cell, "input", 0)
    return (cell, "input", 1) if _CURRENT.match(rest) else None


def _our_parts(state: Mapping[str, Tensor]) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for name in state:
        found = _OURS.match(name)
        if found is None:
            parts[name] = (name.split(".")[0],)
        elif found[2] == "blocks":
            parts[name] = (int(found[1]), int(found[3]), int(found[4]))
        else:
            parts[name] = (int(found[1]), found[2].removesuffix("s"), int(found[3]))
    return parts


def _by_part(parts: Mapping[str, Part]) -> dict[Part, list[str]]:
    names: dict[Part, list[str]] = defaultdict(list)
    for name, part in parts.items():
        if not _is_counter(name):
            names[part].append(name)
    return names


def _is_counter(name: str) -> bool:
    """Batches seen by a batch norm, which old weights do not have and nothing here uses."""
    return name.endswith("num_batches_tracked")
