"""The settings of a simulation. The command line reads help texts here, so it imports no slow module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, field_validator

from orchestrator.config import Option, OptionSettings
from trainables.settings import did_you_mean

ANSWERS = ("nearest", "surrogate")


class SimulateSettings(OptionSettings):
    """`cellscout simulate`: which searches are simulated, and how often."""

    samplers: Annotated[Sequence[str], Option("--sampler")] = Field(
        default=("predictor", "tpe", "random"), min_length=1
    )
    """Samplers to compare (`cellscout list samplers`). Several names are separated by commas; one with settings is
    given alone, in quotes: `"tpe multivariate=true,false"` compares both values. May be repeated."""
    schedulers: Annotated[Sequence[str], Option("--scheduler")] = Field(default=("asha",), min_length=1)
    """Schedulers to compare (`cellscout list schedulers`), written in the same way: `"asha min_epochs=1,3
    reduction_factor=2,3"` compares four. May be repeated."""
    workers: Sequence[Annotated[int, Field(ge=1)]] = Field(default=(4,), min_length=1)
    """Numbers of trials that run at a time."""
    seeds: int = Field(default=10, ge=1)
    """Number of searches of each combination, with seeds from 0."""
    trainings: int | None = Field(default=None, ge=1)
    """Length of a simulated search: the time that all workers together need for this many full trainings. Default: a
    tenth of the number of recorded candidates."""
    answers: str = "nearest"
    """Where the curve of a proposal comes from. `nearest`: the most similar recorded candidate that was not used yet;
    `surrogate`: a model that is fitted to the recorded curves, with noise. `surrogate` needs 50
    candidates."""
    target: float = Field(default=0.5, gt=0, lt=100)
    """The regret to reach, in percentage points."""

    @field_validator("answers")
    @classmethod
    def _check_answers(cls, value: str) -> str:
        if value not in ANSWERS:
            raise ValueError(f"--answers is {value!r}; known: {', '.join(ANSWERS)}{did_you_mean(value, ANSWERS)}")
        return value
