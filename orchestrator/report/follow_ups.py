"""Presents the winner of a search and what followed it: the evaluation, retrained networks, exported files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.progress import counted, describe, number
from orchestrator.record import Evaluation, FollowUps, Retrained, RunDirectory, RunState


def winner_lines(directory: RunDirectory, follow_ups: FollowUps, state: RunState) -> Iterator[str]:
    """Yield the winner, by its trial."""
    winner = follow_ups.evaluated_winner(state)
    if winner is not None:
        yield f"winner      trial {winner.trial_id}, by the evaluation, in {directory.best}"
        yield f"in search   it had {describe(winner, state)}"
    elif state.best is None:
        yield "best        no trial has completed its training"
    else:
        yield f"best        {describe(state.best, state)}, in {directory.best}"


def follow_up_lines(follow_ups: FollowUps, state: RunState) -> Iterator[str]:
    """Yield a line for each evaluation, retrained network and exported file."""
    if follow_ups.evaluation is not None:
        yield f"evaluation  {_evaluated(follow_ups.evaluation, state)}"
    for name, one in follow_ups.retrainings.items():
        yield f"retrained   {name}: {'unfinished' if one is None else _retrained(one)}"
    for folder, files in follow_ups.exports.items():
        for file in files:
            accuracy = f"accuracy {number(file.scores.accuracy)} on {file.images:,} validation images"
            yield f"exported    {folder}/export/{file.file}: {accuracy}, {file.size / 1e6:.2f} MB"


def follow_up_json(follow_ups: FollowUps) -> dict[str, Any]:
    """Return all results as JSON."""
    evaluation = follow_ups.evaluation
    return {
        "evaluation": None if evaluation is None else evaluation.to_json(),
        "retrained": {name: None if one is None else one.to_json() for name, one in follow_ups.retrainings.items()},
        "exported": {
            folder: [file.model_dump(mode="json") for file in files] for folder, files in follow_ups.exports.items()
        },
    }


def _evaluated(evaluation: Evaluation, state: RunState) -> str:
    trainings = evaluation.search.cost.trials
    if evaluation.finished and trainings != state.trained:
        return f"of the first {trainings} trainings, before the search went on: {evaluation.verdict}"
    return evaluation.verdict


def _retrained(one: Retrained) -> str:
    if one.accuracy is None:
        return "all trainings diverged" if one.is_over else "not tested yet"
    spread = "" if one.deviation is None else f" ± {one.deviation:.4f}"
    again = "" if one.test_number in (None, 1) else f"; test {one.test_number} of this network, so not fresh evidence"
    return f"test accuracy {one.accuracy:.4f}{spread} ({counted(len(one.accuracies), 'seed')}{again})"
