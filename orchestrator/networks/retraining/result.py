"""The result of a retrained network: costs, test accuracy with its spread, training time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from orchestrator.networks.retraining.record import Asked, RetrainState
from orchestrator.record import Retrained


def result_of(
    name: str, *, location: str, costs: tuple[int, int], asked: Asked, state: RetrainState, score: str
) -> Retrained:
    """Make the result of a network from its record.

    Args:
        name: of the network.
        location: of its record.
        costs: parameters and multiply-adds.
        asked: the settings of the retraining.
        state: folded from its events.
        score: what the accuracies are, in words.
    """
    seeds = asked.seeds
    rows = [row for seed in seeds for row in state.epochs.get(seed, [])]
    tested = state.tested
    accuracies = {} if tested is None else tested.accuracy
    return Retrained(
        name=name,
        location=location,
        parameters=costs[0],
        macs=costs[1],
        seeds=seeds,
        accuracies=accuracies,
        epochs=len(rows) / len(seeds),
        train_seconds=sum(row.seconds for row in rows) / len(seeds),
        device=None if tested is None else tested.device,
        latency_seconds=None if tested is None else tested.latency_seconds,
        test_number=None if tested is None else tested.number,
        tested_at=None if tested is None else tested.time,
        is_over=all(seed in state.ended for seed in seeds),
        diverged=sum(ended.kept_epoch is None for ended in state.ended.values()),
        weights=asked.weights,
        freeze=asked.freeze,
        accuracy=mean(accuracies.values()) if accuracies else None,
        deviation=stdev(accuracies.values()) if len(accuracies) > 1 else None,
        score=score,
        by_class=_mean_by_class([] if tested is None else list(tested.by_class.values())),
    )


def _mean_by_class(found: Sequence[Mapping[str, float | None]]) -> dict[str, float | None] | None:
    if not found:
        return None
    by_class = {name: [one[name] for one in found] for name in found[0]}
    return {
        name: None if None in values else mean(value for value in values if value is not None)
        for name, values in by_class.items()
    }
