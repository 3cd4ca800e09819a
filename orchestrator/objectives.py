"""Objectives and constraints: what makes one candidate better than another. Pure functions of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

Direction = Literal["maximize", "minimize"]

COSTS = ("parameters", "macs", "activation_bytes")
"""What is known of a candidate without training it (`trainables.costs`)."""


def losses_of(metric: Callable[[str], float | None], objectives: Mapping[str, Direction]) -> tuple[float, ...] | None:
    """A candidate's value in each objective, turned so that less is better; None if one is not known."""
    losses = []
    for name, direction in objectives.items():
        value = metric(name)
        if value is None:
            return None
        losses.append(-value if direction == "maximize" else value)
    return tuple(losses)


def dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether the first losses are nowhere higher than the second, and somewhere lower."""
    return all(a <= b for a, b in zip(first, second, strict=True)) and tuple(first) != tuple(second)


def violations(costs: Mapping[str, float], constraints: Mapping[str, float]) -> dict[str, float]:
    """By how much each constrained metric is above its bound; zero or less where it is within."""
    return {name: costs[name] - bound for name, bound in constraints.items()}
