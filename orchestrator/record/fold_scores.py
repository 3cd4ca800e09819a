"""The scores of an evaluation's trainings, by candidate. Pure functions of a run's state."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean

from orchestrator.objectives import COSTS, Direction
from orchestrator.record.events import EvaluatedCandidate
from orchestrator.record.run_state import RunState
from orchestrator.record.trial import Trial

Training = tuple[int, int]
"""Seed and fold. All candidates have the same ones, so scores can be paired by them."""


def score_of(objectives: Mapping[str, Direction]) -> tuple[str, Direction]:
    """The metric by which candidates are compared: the first objective that depends on training, else accuracy."""
    decided = [(name, to) for name, to in objectives.items() if name not in (*COSTS, "latency_seconds")]
    return decided[0] if decided else ("val_accuracy", "maximize")


def trainings_of(state: RunState, candidate: EvaluatedCandidate) -> list[Trial]:
    """All trainings of the candidate, ended or not."""
    return [trial for trial in state.trials.values() if trial.fingerprint == candidate.fingerprint]


def scores_of(state: RunState, candidate: EvaluatedCandidate, metric: str) -> dict[Training, float]:
    """The metric at the end of each training that has completed all its epochs."""
    scores = {}
    for trial in trainings_of(state, candidate):
        value = trial.metric(metric)
        if trial.status == "completed" and trial.resample is not None and value is not None:
            scores[trial.resample.seed, trial.resample.fold] = value
    return scores


def leader(state: RunState) -> tuple[EvaluatedCandidate, float, int] | None:
    """Return the candidate with the best mean so far, this mean, and the number of trainings in it.

    None if no training has ended yet.
    """
    if state.evaluation is None:
        return None
    metric, direction = score_of(state.objectives)
    means = []
    for candidate in state.evaluation.candidates:
        scores = scores_of(state, candidate, metric).values()
        if scores:
            means.append((candidate, mean(scores), len(scores)))
    sign = 1 if direction == "maximize" else -1
    return max(means, key=lambda found: sign * found[1], default=None)
