"""Read the objectives' values from a result, with signs such that higher is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

from orchestrator.objectives import Direction
from orchestrator.schedulers.ranking import Values


@final
class ObjectiveValues:
    """Reads the values of named objectives from a result.

    Args:
        objectives: the direction of each objective, "maximize" or "minimize". None: one objective, given by Ray Tune's
            `metric` and `mode`.

    Raises:
        ValueError: objectives is empty, or a direction is not one of the two.
    """

    def __init__(self, objectives: Mapping[str, Direction] | None) -> None:
        if objectives is not None and not objectives:
            raise ValueError("objectives is empty; name at least one, or give None for Ray Tune's metric")
        for name, direction in (objectives or {}).items():
            if direction not in ("maximize", "minimize"):
                raise ValueError(f"objectives[{name!r}] is {direction!r}; it must be 'maximize' or 'minimize'")
        self._are_explicit = objectives is not None
        self._signs = {name: 1.0 if how == "maximize" else -1.0 for name, how in (objectives or {}).items()}

    def __len__(self) -> int:
        return len(self._signs) if self._are_explicit else 1

    def set_metric(self, metric: str | None, mode: str | None) -> bool:
        """Use Ray Tune's metric unless objectives were given; return whether there is an objective."""
        if not self._are_explicit and metric is not None:
            self._signs = {metric: -1.0 if mode == "min" else 1.0}
        return bool(self._signs)

    def read(self, result: Mapping[str, Any]) -> Values | None:
        """Return the values, higher is better. Returns None if the trial diverged: a value is missing or not finite."""
        if result.get("diverged"):  # a loss may be infinite and the objectives finite
            return None
        values = []
        for name, sign in self._signs.items():
            value = result.get(name)
            if value is None or not math.isfinite(value):
                return None
            values.append(sign * value)
        return tuple(values)


def only_objective(scheduler: str, objectives: Mapping[str, Direction] | None) -> ObjectiveValues:
    """Return the values of a scheduler that supports only one objective.

    Raises:
        ValueError: there are several objectives.
    """
    if objectives is not None and len(objectives) > 1:
        raise ValueError(
            f"scheduler {scheduler} supports one objective, but there are {len(objectives)}: "
            f"{', '.join(objectives)}; use asha or asha_promotion for several"
        )
    return ObjectiveValues(objectives)
