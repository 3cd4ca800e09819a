"""The settings of an evaluation. The command line reads help texts here, so it imports no slow module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from orchestrator.config import Option, OptionSettings


class EvaluationSettings(OptionSettings):
    """`cellscout evaluate`: what is evaluated, and how often each candidate is trained."""

    top: Annotated[int | None, Option(why="one candidate cannot be compared")] = Field(default=None, ge=2)
    """How many of the best candidates to evaluate. Default: 2, or with several objectives the whole Pareto front."""
    folds: Annotated[int, Option(why="one is held out, and the others are trained on")] = Field(default=5, ge=2)
    """Number of folds of the cross-validation."""
    seeds: int = Field(default=1, ge=1)
    """Number of seeds. Each seed gives other folds and other initial weights. With more seeds the intervals are
    narrower."""
    baseline: bool = True
    """Also run a random search with the same budget and scheduler, and evaluate its best candidate."""
    changes: Annotated[Sequence[str], Option("--set")] = ()
    """Change `data.root`, if the search's images are elsewhere now; may be repeated."""
