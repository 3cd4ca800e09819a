"""The contents of the result files, JSON beside the event log: what an evaluation and a retraining write.

Does not know how the results are computed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, field_serializer

from orchestrator.objectives import Direction


class ResultFile(BaseModel):
    """A result file, or a part of one. Unknown fields are ignored when it is read."""

    model_config = ConfigDict(frozen=True)

    def to_json(self) -> dict[str, Any]:
        """Values for `json.dumps`, in the order of the fields."""
        return self.model_dump(mode="json")


class Difference(ResultFile):
    """The winner of an evaluation minus another candidate: see `evaluation.outcome.Comparison`.

    `interval`, `t`, `p` and `p_adjusted` are None if the difference cannot be tested.
    """

    other: str
    difference: float
    interval: tuple[float, float] | None
    t: float | None
    degrees: int
    p: float | None
    p_adjusted: float | None


class _OfWinner(ResultFile):
    """Has the field that precedes those of the difference."""

    winner: str | None


class WinnerDifference(Difference, _OfWinner):
    """A difference that names the winner too."""


class CandidateScore(ResultFile):
    """The score of one training."""

    seed: int
    fold: int
    score: float


class EvaluatedScores(ResultFile):
    """A candidate of an evaluation: see `evaluation.outcome.Evaluated`.

    `name` is its trial in the search, or `random/` followed by its trial in the random search. `interval` is that of
    the mean, None if all scores are equal; the intervals of all candidates hold at once with 95 %.
    """

    name: str
    trial_id: str | None
    random_id: str | None
    rank: int | None
    mean: float | None
    deviation: float | None
    interval: tuple[float, float] | None
    search_rank: int | None
    search_score: float | None
    trainings: int
    problems: list[str]
    scores: list[CandidateScore]
    objectives: dict[str, float] | None
    on_front: bool
    parameters: int | None
    macs: int | None
    fingerprint: str
    architecture: dict[str, Any]


class SearchCost(ResultFile):
    """The cost of a search: trained candidates, their epochs, and the seconds of training."""

    trials: int
    epochs: int
    train_seconds: float


class EvaluatedSearchCost(ResultFile):
    """The search whose candidates are evaluated."""

    cost: SearchCost


class RandomSearch(ResultFile):
    """The random search of equal cost: the name of its best candidate, and how the winner compares with it."""

    best: str | None
    cost: SearchCost
    comparison: Difference | None


class Trainings(ResultFile):
    """How many trainings of an evaluation have ended, of how many."""

    ended: int
    planned: int


class EpochCorrelation(ResultFile):
    """How alike the search after this epoch and the evaluation rank so many candidates (-1..1)."""

    epoch: int
    candidates: int
    spearman: float | None
    kendall: float | None


class Evaluation(ResultFile):
    """The contents of `evaluation.json`: see `evaluation.outcome.Outcome`."""

    verdict: str
    finished: bool
    metric: str
    direction: Direction | None = None
    """None in files of the first version."""
    folds: int
    seeds: list[int]
    trainings: Trainings
    winner: str | None
    candidates: list[EvaluatedScores]
    comparisons: list[WinnerDifference]
    random: RandomSearch | None
    search: EvaluatedSearchCost
    rank_correlations: list[EpochCorrelation]
    fuller: str | None = None
    """What an evaluation with more seeds would add and cost, as a sentence."""


class Retrained(ResultFile):
    """The contents of a retraining's `result.json`: the result of one network."""

    name: str
    location: str
    """Where its record is."""
    parameters: int
    macs: int
    """Multiply-adds for one image, of the network in use, as `parameters`."""
    seeds: list[int]
    """The seeds asked for."""
    accuracies: dict[int, float]
    """Test accuracy (0..1) by seed, of the trainings that have weights."""
    epochs: float
    """Trained epochs, on average per seed."""
    train_seconds: float
    """Training time, on average per seed."""
    device: str | None
    latency_seconds: float | None
    """Of one image on `device`."""
    test_number: int | None
    """How many tests of this network there are in this run; None before it is tested."""
    tested_at: datetime | None
    is_over: bool
    """Whether all trainings have ended."""
    diverged: int = 0
    """How many of them have diverged, so that they have no weights."""
    weights: str | None = None
    """SHA-256 of the initial weights; None: random ones."""
    freeze: bool = False
    """Whether only the classifier was trained."""
    accuracy: float | None
    """Mean over the seeds."""
    deviation: float | None
    """Standard deviation over the seeds; None of fewer than two."""
    score: str = "accuracy"
    """What the accuracies are, in words."""
    by_class: dict[str, float | None] | None = None
    """The test score of each class, the mean over the seeds, if the score has one; None for a class that does not
    occur."""

    @field_serializer("tested_at")
    def _in_iso_format(self, tested_at: datetime | None) -> str | None:
        return None if tested_at is None else tested_at.isoformat()
