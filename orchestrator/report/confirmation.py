"""Says how the winner of a search was chosen, and what the confirmation has found. Does not know how it is shown."""

from __future__ import annotations

from typing import Any, Literal

from orchestrator.config import ConfirmationSettings
from orchestrator.confirmation import Race, plan_confirmation
from orchestrator.progress import number
from orchestrator.record import (
    ENDED,
    ConfirmedCandidate,
    Evaluation,
    FollowUps,
    RecordedRun,
    RunInfo,
    RunState,
)
from orchestrator.significance import is_chance
from orchestrator.words import counted

How = Literal["evaluated", "confirmed", "unconfirmed"]
"""`evaluated`: by `cellscout evaluate`. `confirmed`: by the confirmation. `unconfirmed`: by its score in the search."""

Standing = Literal["leads", "in_doubt", "behind", "out"]
"""`leads`: the winner, or with several objectives a member of the front. `in_doubt`: it cannot be distinguished from
these. `out`: a new training diverged or failed."""


def how_chosen(follow_ups: FollowUps, state: RunState) -> How:
    """Return how the winner was chosen."""
    if follow_ups.evaluated_winner(state) is not None:
        return "evaluated"
    return "unconfirmed" if state.confirmed is None else "confirmed"


def is_confirming(standing: str, state: RunState) -> bool:
    """Whether the run is in its confirmation."""
    plan = state.confirmation
    return standing == "running" and plan is not None and plan.trained == state.trained


def confirmed_candidates(state: RunState) -> dict[str, ConfirmedCandidate]:
    """Return the candidates of the confirmation by trial, best first; empty unless there is a confirmed winner."""
    return {} if state.confirmed is None else {one.trial_id: one for one in state.confirmed.candidates}


def standing_of(candidate: ConfirmedCandidate, state: RunState) -> Standing:
    """Return how a candidate of the confirmed winner's confirmation stands."""
    assert state.confirmed is not None, "there is a confirmed winner"
    if candidate.problem is not None:
        return "out"
    if candidate.on_front if len(state.objectives) > 1 else candidate.trial_id == state.confirmed.winner.trial_id:
        return "leads"
    return "in_doubt" if candidate.in_doubt else "behind"


def range_in_words(interval: tuple[float, float] | None) -> str:
    """Format an interval; None as `-`."""
    return "-" if interval is None else f"{number(interval[0])} to {number(interval[1])}"


def progress_of(state: RunState) -> str:
    """Say how many of the new trainings have ended."""
    ended = sum(repeat.status != "running" for repeat in state.planned_repeats())
    return f"{ended} of about {counted(Race(state).expected_trainings(), 'new training')} {_have(ended)} ended"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def why_unconfirmed(standing: str, state: RunState, info: RunInfo) -> str:
    """Say in a clause why the best trial is not confirmed, as far as the record shows it."""
    plan = state.confirmation
    if plan is not None and plan.trained != state.trained:
        return "the search has gone on since its confirmation"
    if plan is not None and standing == "running":
        return f"its confirmation is running, {progress_of(state)}"
    if plan is not None:
        ended = [repeat for repeat in state.planned_repeats() if repeat.status not in ("completed", "running")]
        if len({repeat.repeats for repeat in ended}) == len(plan.candidates):
            return "each candidate diverged or failed when it was trained again"
        return "the confirmation ended before each candidate had two new trainings"
    settings = _settings(info)
    if settings is not None and settings.candidates == 0:
        return "confirmation.candidates is 0"
    if standing == "running":
        return "the best candidates are trained again when the search has ended"
    if standing not in ENDED:
        return "the search was stopped before its confirmation"
    reason = None if settings is None else plan_confirmation(state, settings, info)
    return reason if isinstance(reason, str) else "no candidate was trained again"


def _settings(info: RunInfo) -> ConfirmationSettings | None:
    """The settings of the confirmation; None if there are none that this version accepts."""
    try:
        return ConfirmationSettings.model_validate(info.config.get("confirmation"))
    except ValueError:
        return None


def why_race_ended(standing: str, state: RunState) -> str:
    """Say in a clause why no more candidates are trained again."""
    plan = state.confirmation
    assert plan is not None, "there was a race"
    end = Race(state).ending()
    if end == "clear":
        return "one candidate was left"
    if end == "trainings":
        return f"each candidate that was left has been trained {counted(plan.trainings, 'time')}"
    if end == "seconds":
        return "another round would have exceeded the training time that was set"
    return "budget.hours was over" if standing == "out_of_time" else "the run was stopped"


def winner_json(run: RecordedRun, follow_ups: FollowUps, state: RunState) -> dict[str, Any] | None:
    """Return the winner, how it was chosen and what is known about its score; None before a trial has completed."""
    winner = follow_ups.winner(state)
    if winner is None:
        return None
    how = how_chosen(follow_ups, state)
    found: dict[str, Any] = {"trainings": 0, "scores": {}, "in_doubt": []}
    if how == "evaluated" and follow_ups.evaluation is not None:
        found = _evaluated_json(follow_ups.evaluation)
    elif how == "confirmed" and state.confirmed is not None:
        found = {
            "trainings": state.confirmed.winner.trainings,
            "scores": {name: score.model_dump(mode="json") for name, score in state.confirmed.winner.scores.items()},
            "in_doubt": [rival.trial_id for rival in state.confirmed.rivals],
        }
    why = why_unconfirmed(run.standing, state, run.info) if how == "unconfirmed" else None
    return {"trial_id": winner.trial_id, "how": how, "why": why, **found}


def _evaluated_json(evaluation: Evaluation) -> dict[str, Any]:
    best = next(one for one in evaluation.candidates if one.name == evaluation.winner)
    return {
        "trainings": best.trainings,
        "scores": {evaluation.metric: {"mean": best.mean, "interval": best.interval}},
        "in_doubt": [one.other for one in evaluation.comparisons if is_chance(one.p_adjusted)],
    }


def confirmation_json(state: RunState) -> dict[str, Any] | None:
    """Return the plan, the candidates and the cost of the last confirmation; None before the first.

    `is_current` is false if the search has trained more candidates since, or if not all candidates can be compared yet.
    """
    if state.confirmation is None:
        return None
    repeats = state.planned_repeats()
    return {
        "is_current": state.confirmed is not None,
        "plan": state.confirmation.model_dump(mode="json", exclude={"event", "time"}),
        "trainings": sum(repeat.status != "running" for repeat in repeats),
        "train_seconds": sum(repeat.train_seconds for repeat in repeats),
        "candidates": []
        if state.compared is None
        else [one.model_dump(mode="json") for one in state.compared.candidates],
    }
