"""What a result is worth: its objectives' values, each turned so that the higher is the better."""

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
        objectives: the direction of each. None: one objective, which Ray Tune names by its `metric` and `mode`.
    """

    def __init__(self, objectives: Mapping[str, Direction] | None) -> None:
        if objectives is not None and not objectives:
            raise ValueError("objectives is empty; name at least one, or give None for Ray Tune's metric")
        for name, direction in (objectives or {}).items():
            if direction not in ("maximize", "minimize"):
                raise ValueError(f"objectives[{name!r}] is {direction!r}; it must be 'maximize' or 'minimize'")
        self._stated = objectives is not None
        self._signs = {name: 1.0 if how == "maximize" else -1.0 for name, how in (objectives or {}).items()}

    def __len__(self) -> int:
        return len(self._signs) if self._stated else 1

    def set_metric(self, metric: str | None, mode: str | None) -> bool:
        """Told by Ray Tune; False if no objective is known then. Stated objectives stand."""
        if not self._stated and metric is not None:
            self._signs = {metric: -1.0 if mode == "min" else 1.0}
        return bool(self._signs)

    def of(self, result: Mapping[str, Any]) -> Values | None:
        """The values; None if one is missing or not finite."""
        values = []
        for name, sign in self._signs.items():
            value = result.get(name)
            if value is None or not math.isfinite(value):
                return None
            values.append(sign * value)
        return tuple(values)


def only_objective(scheduler: str, objectives: Mapping[str, Direction] | None) -> ObjectiveValues:
    """For a scheduler that knows one objective.

    Raises:
        ValueError: there are several.
    """
    if objectives is not None and len(objectives) > 1:
        raise ValueError(
            f"the scheduler {scheduler} ranks by one objective, and there are {len(objectives)}: "
            f"{', '.join(objectives)}; asha and asha_promotion rank by several"
        )
    return ObjectiveValues(objectives)
