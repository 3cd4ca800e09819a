"""The contents of the result files, which are JSON beside the event log."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class ResultFile(BaseModel):
    """What a page needs of a file."""

    model_config = ConfigDict(frozen=True)


class Difference(ResultFile):
    """The winner of an evaluation and another candidate: see `evaluation.outcome.Comparison`."""

    other: str
    difference: float
    interval: tuple[float, float]
    p_adjusted: float


class EvaluatedScores(ResultFile):
    """A candidate of an evaluation; `name` is its trial in the search, or `random/` and one of the random search."""

    name: str
    trial_id: str | None
    rank: int | None
    mean: float | None
    deviation: float | None
    interval: tuple[float, float] | None
    search_score: float | None
    trainings: int
    problems: list[str]


class RandomSearch(ResultFile):
    """The random search of equal cost: the name of its best, and how the winner compares with it."""

    best: str | None
    comparison: Difference | None


class Trainings(ResultFile):
    """How many trainings of an evaluation have ended, of how many."""

    ended: int
    planned: int


class Evaluation(ResultFile):
    """The contents of `evaluation.json`: see `evaluation.outcome.Outcome`."""

    verdict: str
    finished: bool
    metric: str
    folds: int
    seeds: list[int]
    trainings: Trainings
    winner: str | None
    candidates: list[EvaluatedScores]
    comparisons: list[Difference]
    random: RandomSearch | None


class Retrained(ResultFile):
    """The contents of a retraining's `result.json`: see `retraining.result.NetworkResult`."""

    name: str
    parameters: int
    macs: int
    seeds: list[int]
    accuracy: float | None
    deviation: float | None
    epochs: float
    train_seconds: float
    device: str | None
    latency_seconds: float | None
    test_number: int | None
    tested_at: datetime | None
    weights: str | None = None
    freeze: bool = False
