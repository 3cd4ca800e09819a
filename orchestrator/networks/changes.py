"""Changes a network by the values that a command's options give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.config import resolve_value
from orchestrator.errors import InputError
from trainables.network_plan import plan_network
from trainables.network_spec import NetworkSpec
from trainables.skeleton import SKELETONS, Skeleton


def with_changes(spec: NetworkSpec, skeleton: str | None, **values: Any) -> NetworkSpec:
    """The network with another skeleton and other values; a value of None is not changed.

    Raises:
        InputError: the skeleton is unknown, or no network can be built with these values.
    """
    changes = {name: value for name, value in values.items() if value is not None}
    if skeleton is not None:
        changes["skeleton"] = resolve_value("--skeleton", name=skeleton, known=SKELETONS, kind=Skeleton)
    try:
        changed = replace(spec, **changes)
        plan_network(changed)
    except ValueError as error:
        raise InputError(str(error)) from error
    return changed
