"""What a command calls an architecture: a published cell by its name, a file, or the best of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import InputError, last_line
from orchestrator.plugins import resolve_value
from search_spaces import PUBLISHED, Architecture
from trainables.network_plan import plan_network
from trainables.network_spec import NetworkSpec
from trainables.settings import did_you_mean
from trainables.skeleton import SKELETONS, Skeleton

BEST_NETWORK = Path("best") / "network.json"


def find_network(name: str) -> NetworkSpec:
    """The network that `name` stands for.

    Args:
        name: of a published cell; or the path of an `architecture.json` or `network.json`; or of a run directory, whose
            best network it then is. A cell without a network of its own gets the proxy that a search trains: N = 2,
            F = 16, 32x32 colour images of 10 classes, and the skeleton of its paper. An `architecture.json` does not
            tell its skeleton; it gets `nasnet_cifar`.

    Raises:
        InputError: there is no such cell or file, or it holds no architecture.
    """
    if name in PUBLISHED:
        published = PUBLISHED[name]
        return _proxy(published.architecture, published.skeleton)
    path = Path(name)
    try:
        is_run = path.is_dir()
        path = path / BEST_NETWORK if is_run else path
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if is_run:
            raise InputError(f"{name!r} holds no best network (no {BEST_NETWORK} there)") from error
        hint = did_you_mean(name.lower(), PUBLISHED)
        raise InputError(f"{name!r} is no published cell, no file and no run directory{hint}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {last_line(error)}") from error
    try:
        if isinstance(value, dict) and "architecture" in value:
            return NetworkSpec.from_json(value)
        return _proxy(Architecture.from_json(value), "nasnet_cifar")
    except ValueError as error:
        raise InputError(f"{path} holds no architecture: {error}") from error


def title_of(name: str) -> str:
    """What to write above a picture of the architecture that `name` stands for."""
    path = Path(name)
    return path.resolve().name if path.is_dir() else path.stem


def with_changes(spec: NetworkSpec, skeleton: str | None, **values: Any) -> NetworkSpec:
    """The network with another skeleton, and with other values where they are not None.

    Raises:
        InputError: the skeleton is unknown, or no network can be made of the values.
    """
    changes = {name: value for name, value in values.items() if value is not None}
    if skeleton is not None:
        changes["skeleton"] = resolve_value("--skeleton", skeleton, SKELETONS, Skeleton)
    try:
        changed = replace(spec, **changes)
        plan_network(changed)
    except ValueError as error:
        raise InputError(str(error)) from error
    return changed


def _proxy(architecture: Architecture, skeleton: str) -> NetworkSpec:
    return NetworkSpec(architecture=architecture, skeleton=SKELETONS[skeleton], repeats=2, filters=16, classes=10)
