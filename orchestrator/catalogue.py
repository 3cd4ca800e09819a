"""What a search file may name, with a line on each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from orchestrator.samplers import SAMPLERS
from orchestrator.schedulers import SCHEDULERS
from search_spaces import SPACES
from trainables import TRAINABLES
from trainables.datasets import DATASETS


def catalogue(kind: str) -> list[dict[str, Any]]:
    """A row for each name of that kind."""
    if kind == "spaces":
        return [
            {
                "name": name,
                "blocks": space.blocks,
                "operations": len(space.operations),
                "combinations": ", ".join(space.combinations),
                "encodings": f"{space.size:.3g}",
                "source": space.source,
            }
            for name, space in SPACES.items()
        ]
    tables: dict[str, Mapping[str, Any]] = {
        "samplers": SAMPLERS,
        "schedulers": SCHEDULERS,
        "datasets": DATASETS,
        "trainables": TRAINABLES,
    }
    return [{"name": name, "about": _first_line(thing)} for name, thing in tables[kind].items()]


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n", 1)[0]
