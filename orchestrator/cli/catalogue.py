"""The built-in names for search files and commands, each with a short description."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.config import flatten
from orchestrator.errors import InputError
from orchestrator.samplers import SAMPLERS
from orchestrator.schedulers import SCHEDULERS
from search_spaces import PUBLISHED, SPACES, CellSpace
from trainables import TRAINABLES
from trainables.operations import OPERATIONS
from trainables.presets import PRESETS
from trainables.settings import did_you_mean
from trainables.skeleton import SKELETONS, Skeleton
from trainables.tasks.table import DATASETS


def catalogue(kind: str) -> list[dict[str, Any]]:
    """One row for each name of a kind, such as `samplers`.

    Raises:
        InputError: there is no such kind.
    """
    make: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "spaces": _spaces,
        "cells": _cells,
        "operations": _operations,
        "skeletons": _skeletons,
        "presets": _presets,
        "samplers": lambda: _described(SAMPLERS),
        "schedulers": lambda: _described(SCHEDULERS),
        "datasets": lambda: _described(DATASETS),
        "trainables": lambda: _described(TRAINABLES),
    }
    if kind not in make:
        raise InputError(f"KIND is {kind!r}; known: {', '.join(make)}{did_you_mean(kind, make)}")
    return make[kind]()


def _spaces() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "blocks": space.blocks,
            "operations": len(space.operations),
            "encodings": space.size,
            "distinct": space.count_distinct(),
            "rules": "; ".join(
                [" and ".join(space.cells), space.wiring, " or ".join(space.combinations), space.output, space.skeleton]
            ),
            "source": space.source,
        }
        for name, space in SPACES.items()
    ]


def _cells() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "skeleton": published.skeleton,
            "fingerprint": published.architecture.fingerprint,
            "source": published.source,
        }
        for name, published in PUBLISHED.items()
    ]


def _skeletons() -> list[dict[str, Any]]:
    """Each skeleton with those of its rules that differ from the first skeleton's."""
    first = next(iter(SKELETONS.values()))
    return [
        {"name": name, "about": skeleton.about, "rules": _differences(skeleton, first) or "the rules to compare with"}
        for name, skeleton in SKELETONS.items()
    ]


def _differences(skeleton: Skeleton, other: Skeleton) -> str:
    found, expected = flatten(skeleton.to_json()), flatten(other.to_json())
    return ", ".join(f"{name}={value}" for name, value in found.items() if name != "about" and value != expected[name])


def _operations() -> list[dict[str, Any]]:
    """Each operation with the spaces that have it."""
    return [
        {
            "name": name,
            "about": _first_line(build),
            "spaces": ", ".join(space.name for space in SPACES.values() if _has(space, name)) or "none",
        }
        for name, build in OPERATIONS.items()
    ]


def _has(space: CellSpace, operation: str) -> bool:
    fixed = () if space.reduction is None else (edge for block in space.reduction.blocks for edge in block.edges)
    return operation in space.operations or any(edge.operation == operation for edge in fixed)


def _presets() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "settings": ", ".join(f"{key}={value}" for key, value in preset.settings.items()),
            "source": preset.source,
        }
        for name, preset in PRESETS.items()
    ]


def _described(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "about": _first_line(thing)} for name, thing in table.items()]


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n", 1)[0]
