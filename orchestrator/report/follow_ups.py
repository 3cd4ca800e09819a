"""Presents the winner of a search and what followed it: the evaluation, retrained networks, exported files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.progress import describe, describe_confirmed, number, rivals_in_words
from orchestrator.record import (
    ENDED,
    EVALUATION,
    INFO,
    RANDOM,
    Evaluation,
    FollowUps,
    RecordedRun,
    Retrained,
    RunDirectory,
    RunState,
)
from orchestrator.report.confirmation import why_unconfirmed
from orchestrator.words import counted


def winner_lines(run: RecordedRun, follow_ups: FollowUps, state: RunState) -> Iterator[str]:
    """Yield the winner, how it was chosen, and its score in the search."""
    winner, confirmed, best = follow_ups.winner(state), state.confirmed, run.directory.best
    if winner is None:
        yield "best        no trial has completed its training"
        return
    if follow_ups.evaluated_winner(state) is not None:
        yield f"winner      trial {winner.trial_id}, by the evaluation, in {best}"
    elif confirmed is not None:
        yield f"winner      {describe_confirmed(confirmed, state)}, in {best}"
        rivals = "" if len(state.objectives) > 1 else f"; {rivals_in_words(confirmed)}"
        yield f"            the interval holds its true score with a probability of 95 %{rivals}"
    else:
        yield f"best        {describe(winner, state)}, in {best}"
        yield f"unconfirmed {why_unconfirmed(run.standing, state, run.info)}"
        return
    yield f"in search   it had {describe(winner, state)}"


def unfinished_evaluation(directory: RunDirectory, follow_ups: FollowUps) -> str | None:
    """Say how far the evaluation of a search is that has no result yet; None if it has one, or there is none."""
    place = directory / EVALUATION
    if follow_ups.evaluation is not None or not place.folder.has(INFO):
        return None
    standing = RecordedRun.read(place).standing
    at_random = (place / RANDOM).folder.has(INFO) and RecordedRun.read(place / RANDOM).standing not in ENDED
    where = "in its random search" if at_random else "without a result yet"
    return f"{standing} {where}{'' if standing == 'running' else '; the command that began it continues it'}"


def follow_up_lines(run: RecordedRun, follow_ups: FollowUps, state: RunState) -> Iterator[str]:
    """Yield a line for each evaluation, retrained network and exported file."""
    if state.confirmed is not None and follow_ups.evaluated_winner(state) is not None:
        yield f"confirmed   {describe_confirmed(state.confirmed, state)}, before the evaluation"
    if follow_ups.evaluation is not None:
        yield f"evaluation  {_evaluated(follow_ups.evaluation, state)}"
    if (unfinished := unfinished_evaluation(run.directory, follow_ups)) is not None:
        yield f"evaluation  {unfinished}"
    for name, one in follow_ups.retrainings.items():
        yield f"retrained   {name}: {'unfinished' if one is None else _retrained(one)}"
    for folder, files in follow_ups.exports.items():
        for file in files:
            accuracy = f"accuracy {number(file.scores.accuracy)} on {file.images:,} validation images"
            seen = " (on which the network was trained, so that this says little)" if file.saw_validation else ""
            yield f"exported    {folder}/export/{file.file}: {accuracy}{seen}, {file.size / 1e6:.2f} MB"


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
