"""Compares candidates by objectives and constraints. Pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

Direction = Literal["maximize", "minimize"]

COSTS = ("parameters", "macs", "activation_bytes")
"""Metrics of a candidate that are known without training it (`trainables.costs`)."""


def losses_of(metric: Callable[[str], float | None], objectives: Mapping[str, Direction]) -> tuple[float, ...] | None:
    """Return a candidate's value in each objective, negated if more is better; None if a value is unknown."""
    losses = []
    for name, direction in objectives.items():
        value = metric(name)
        if value is None:
            return None
        losses.append(-value if direction == "maximize" else value)
    return tuple(losses)


def dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether the first losses are all at most the second ones, and at least one is lower."""
    return all(a <= b for a, b in zip(first, second, strict=True)) and tuple(first) != tuple(second)


def violations(costs: Mapping[str, float], constraints: Mapping[str, float]) -> dict[str, float]:
    """Return how far each constrained metric is above its bound; zero or less if the constraint is met."""
    return {name: costs[name] - bound for name, bound in constraints.items()}


def accuracy_error(score: float, images: int, bounds: tuple[float, float]) -> float:
    """Return one standard error of an accuracy: a mean over images, each of which scores one of the bounds."""
    low, high = bounds
    fraction = (score - low) / (high - low)
    # Wilson's centre: the plain estimate gives a score of 1 the error 0.
    centre = (fraction * images + 0.5) / (images + 1)
    return (high - low) * math.sqrt(centre * (1 - centre) / (images + 1))
