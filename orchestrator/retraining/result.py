"""What a retraining comes to: costs, test accuracy with its spread, training time; as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import mean, stdev
from typing import Any

from rich import box
from rich.table import Table

from orchestrator.progress import clock
from orchestrator.retraining.record import Asked, RetrainState
from orchestrator.retraining.training import ordinal


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


def table(results: Sequence[NetworkResult]) -> Table:
    """A row a network, in 80 columns."""
    shown = Table(title="Trained in full", box=box.SIMPLE_HEAD)
    for name in ("network", "parameters", "macs", "latency", "test accuracy", "time"):
        shown.add_column(name, justify="left" if name == "network" else "right")
    for one in results:
        shown.add_row(
            one.name,
            f"{one.parameters:,}",
            f"{one.macs / 1e6:,.1f} M",
            "-" if one.latency_seconds is None else f"{one.latency_seconds * 1e3:.2f} ms",
            _accuracy(one),
            clock(one.train_seconds),
        )
    return shown


def notes(results: Sequence[NetworkResult]) -> str:
    """What the table does not say, a line a network."""
    return "\n".join(f"{one.name}: {', '.join(_facts(one))}; in {one.location}" for one in results)


def _facts(one: NetworkResult) -> list[str]:
    if one.test_number is None or one.tested_at is None:
        if one.is_over:
            return ["not tested, for all trainings diverged"]
        return [f"{one.epochs:g} epochs so far; the same command goes on"]
    facts = [f"{one.epochs:g} epoch{'s' * (one.epochs != 1)}", f"tested on {one.tested_at:%Y-%m-%d} ({one.device})"]
    if len(one.accuracies) > 1:
        facts.insert(0, f"mean and standard deviation of {len(one.accuracies)} seeds")
    if one.test_number > 1:
        facts.append(f"the {ordinal(one.test_number)} test of this network, so its accuracy is no fresh evidence")
    if one.weights is not None:
        begun = "only its classifier trained, on features of the" if one.freeze else "started from"
        facts.append(f"{begun} weights {one.weights[:12]}")
    diverged = len(one.seeds) - len(one.accuracies)
    if diverged:
        facts.append(f"{diverged} of {len(one.seeds)} trainings diverged and are left out")
    return facts


def _accuracy(one: NetworkResult) -> str:
    if one.accuracy is None:
        return "-"
    spread = "" if one.deviation is None else f" ± {one.deviation:.4f}"
    return f"{one.accuracy:.4f}{spread}"
