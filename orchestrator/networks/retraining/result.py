"""What a retraining comes to: costs, test accuracy with its spread, training time; as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import mean, stdev
from typing import Any

from orchestrator.networks.retraining.record import Asked, RetrainState


@dataclass(frozen=True, kw_only=True)
class NetworkResult:
    """Of one network.

    `parameters` and `macs` (multiply-adds for one image) are those of the network in use. `seeds` are those asked for,
    and `accuracies` of the test images, 0..1, by those whose training has weights. `epochs` are all that were trained,
    `train_seconds` what they took, on average a seed. The latency is of one image on `device`. `test_number` counts the
    tests of this network in this run; None before it was tested. `weights` is the SHA-256 of those that the trainings
    started from; None: random ones. `freeze`: only the classifier was trained. `is_over`: all trainings have ended.
    """

    name: str
    location: str
    parameters: int
    macs: int
    seeds: list[int]
    accuracies: dict[int, float]
    epochs: float
    train_seconds: float
    device: str | None
    latency_seconds: float | None
    test_number: int | None
    tested_at: datetime | None
    is_over: bool
    weights: str | None
    freeze: bool

    @property
    def accuracy(self) -> float | None:
        """Mean over the seeds."""
        return mean(self.accuracies.values()) if self.accuracies else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None of fewer than two."""
        return stdev(self.accuracies.values()) if len(self.accuracies) > 1 else None

    def to_json(self) -> dict[str, Any]:
        tested_at = None if self.tested_at is None else self.tested_at.isoformat()
        return {**asdict(self), "accuracy": self.accuracy, "deviation": self.deviation, "tested_at": tested_at}


def result_of(name: str, location: str, costs: tuple[int, int], asked: Asked, state: RetrainState) -> NetworkResult:
    """`costs` are parameters and multiply-adds."""
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
