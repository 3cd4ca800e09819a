"""Records of searches as a comparison reads them, made up: no training, no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.objectives import Direction
from orchestrator.record.events import Event, RunEnded, RunStarted
from orchestrator.record.run_directory import RunDirectory
from tests.builders import at, info, trial, write

DATA = {"train": 400, "validation": 100, "test": 100, "image_shape": [8, 8, 1], "classes": ["0", "1"]}


def searched(
    place: Path,
    scores: Sequence[float] = (0.5, 0.7),
    *,
    seed: int = 0,
    sampler: str = "tpe",
    state: str = "completed",
    config: dict[str, Any] | None = None,
    objectives: dict[str, Direction] | None = None,
    slots: int = 2,
    **values: Any,
) -> str:
    """A run whose trials complete with these scores, ten seconds after another; where it is."""
    settings = {"run": {"name": place.name, "seed": seed}, "sampler": {"name": sampler}, **(config or {})}
    data = {**DATA, "sha256": f"of seed {seed}"}
    directory = RunDirectory.at(place)
    directory.create(info(**{"config": settings, "seed": seed, "state": state, "data": data, **values}))
    events: list[Event] = [
        RunStarted(
            time=at(0),
            slots=slots,
            objectives=objectives or {"val_accuracy": "maximize"},
            constraints={},
            distributions={},
        )
    ]
    for number, score in enumerate(scores):
        events += trial(f"{number:05d}", [score], "completed", begin=10 * number)
    if state == "completed":
        events.append(RunEnded(time=at(10 * len(scores)), outcome="completed"))
    write(directory, events)
    return str(place)
