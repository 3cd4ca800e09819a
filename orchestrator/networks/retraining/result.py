"""The result of a retrained network: costs, test accuracy with its spread, training time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import mean, stdev
from typing import Any

from orchestrator.networks.retraining.record import Asked, RetrainState


@dataclass(frozen=True, kw_only=True)
class NetworkResult:
    """The result of one network."""

    name: str
    location: str
    parameters: int
    """Parameters of the network in use, without what acts only in training."""
    macs: int
    """Multiply-adds of the network in use for one image."""
    seeds: list[int]
    """The requested seeds."""
    accuracies: dict[int, float]
    """Accuracy on the test images, 0..1, by seed; seeds whose training diverged are missing."""
    epochs: float
    """Trained epochs, on average over the seeds."""
    train_seconds: float
    """Training time, on average over the seeds."""
    device: str | None
    latency_seconds: float | None
    """Latency of one image on `device`."""
    test_number: int | None
    """Number of this test among the tests of the network in this run; None before the test."""
    tested_at: datetime | None
    is_over: bool
    """Whether all trainings have ended."""
    weights: str | None
    """SHA-256 of the weights that the trainings started from; None: random weights."""
    freeze: bool
    """Whether only the classifier was trained."""

    @property
    def accuracy(self) -> float | None:
        """Mean over the seeds."""
        return mean(self.accuracies.values()) if self.accuracies else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None for fewer than two."""
        return stdev(self.accuracies.values()) if len(self.accuracies) > 1 else None

    def to_json(self) -> dict[str, Any]:
        tested_at = None if self.tested_at is None else self.tested_at.isoformat()
        return {**asdict(self), "accuracy": self.accuracy, "deviation": self.deviation, "tested_at": tested_at}


def result_of(name: str, location: str, costs: tuple[int, int], asked: Asked, state: RetrainState) -> NetworkResult:
    """Make the result of a network from its record. `costs` are parameters and multiply-adds."""
    seeds = asked.seeds
    rows = [row for seed in seeds for row in state.epochs.get(seed, [])]
    tested = state.tested
    return NetworkResult(
        name=name,
        location=location,
        parameters=costs[0],
        macs=costs[1],
        seeds=seeds,
        accuracies={} if tested is None else tested.accuracy,
        epochs=len(rows) / len(seeds),
        train_seconds=sum(row.seconds for row in rows) / len(seeds),
        device=None if tested is None else tested.device,
        latency_seconds=None if tested is None else tested.latency_seconds,
        test_number=None if tested is None else tested.number,
        tested_at=None if tested is None else tested.time,
        is_over=all(seed in state.ended for seed in asked.seeds),
        weights=asked.weights,
        freeze=asked.freeze,
    )
