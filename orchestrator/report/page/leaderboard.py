"""The leaderboard of a search as values: its columns, and a row for each of the best trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.errors import RunDirectoryError
from orchestrator.progress import clock
from orchestrator.record import ConfirmedCandidate, RunState, Trial, score_of
from orchestrator.report.confirmation import confirmed_candidates, how_chosen, range_in_words
from orchestrator.report.drawing import svg
from orchestrator.report.page.opened import opened_row
from orchestrator.report.page.plot import metric_label
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.table import Value, number_value, text_value
from search_spaces import Architecture

MAX_ROWS = 500
"""The maximal number of rows in the leaderboard; each has drawings."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trial of the leaderboard."""

    trial_id: str
    completed: bool
    """Whether it had its whole training."""
    values: Sequence[Value]
    svg: str
    """Small drawings of its cells."""


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard."""

    name: str
    best_last: bool = False
    """Whether large values are the better ones, so that a first click sorts them to the top."""
    is_number: bool = False
    on_narrow: bool = False
    """Whether narrow pages show it too; an opened row shows all."""


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """The best trials."""

    columns: Sequence[Column]
    metric: str
    """The label of the score by which the trials are ranked."""
    order: str
    """Says what comes first."""
    rows: Sequence[Row]
    opened: Mapping[str, Mapping[str, Any]]
    """What each row shows when it is opened, by trial id: see `opened_row`."""
    scored: int
    """The number of trials that have a score."""
    front_drawings: dict[str, str]
    """Drawings of the trials on the front that have no row, by trial id; plots show them."""


def leaderboard_of(record: PageRecord) -> Leaderboard:
    """Make the leaderboard of a search.

    Raises:
        RunDirectoryError: an architecture on record is invalid.
    """
    state = record.state
    ranking, confirmed = state.ranking(), confirmed_candidates(state)
    front = _front(state, confirmed)
    scores = list(dict.fromkeys(["val_accuracy", *state.objectives]))
    scores = [name for name in scores if name not in ("parameters", "macs")]
    metric, _ = score_of(state.objectives)
    several = len(state.objectives) > 1
    evaluated = how_chosen(record.follow_ups, state) == "evaluated"
    winner = "the winner before the evaluation" if evaluated else "the winner"
    rows = []
    for rank, trial in enumerate(ranking[:MAX_ROWS], start=1):
        values = [
            Value(str(rank), rank),
            Value(trial.trial_id, trial.trial_id),
            Value(state.status_of(trial), state.status_of(trial)),
            *(_confirmed(trial, confirmed, metric, winner) if confirmed else []),
            *(number_value(trial.metric(name)) for name in scores),
            *([text_value(front.get(trial.trial_id, ""))] if several else []),
            Value(str(trial.epochs), trial.epochs),
            Value("-", "") if trial.parameters is None else Value(f"{trial.parameters:,}", trial.parameters),
            Value("-", "") if trial.macs is None else Value(f"{trial.macs / 1e6:,.2f} M", float(trial.macs)),
            Value(clock(trial.train_seconds), trial.train_seconds),
        ]
        rows.append(
            Row(
                trial_id=trial.trial_id,
                completed=trial.status == "completed",
                values=values,
                svg=_small(trial),
            )
        )
    rises = {name: state.objectives.get(name, "maximize") == "maximize" for name in (*scores, metric)}
    columns = [Column("rank"), Column("trial", on_narrow=True), Column("status")]
    if confirmed:
        columns += [
            Column("confirmation"),
            Column("mean", rises[metric], on_narrow=True),
            Column("95 % interval", rises[metric]),
        ]
    labels = [
        Column(
            f"{metric_label(name)}{' in the search' if confirmed else ''}",
            rises[name],
            on_narrow=not confirmed and name == metric,
        )
        for name in scores
    ]
    listed = {row.trial_id for row in rows}
    columns += [
        *labels,
        *([Column("on the front", best_last=True)] if several else []),
        Column("epochs", best_last=True),
        *map(Column, ("parameters", "multiply-adds", "training time")),
    ]
    numeric = [any(not isinstance(row.values[place].sort, str) for row in rows) for place in range(len(columns))]
    return Leaderboard(
        columns=[replace(column, is_number=found) for column, found in zip(columns, numeric, strict=True)],
        metric=metric_label(metric),
        order=CONFIRMED_FIRST.format(metric_label(metric)) if confirmed else "Completed trials come first.",
        rows=rows,
        opened={trial.trial_id: opened_row(record, trial, architecture_of(trial)) for trial in ranking[:MAX_ROWS]},
        scored=len(ranking),
        front_drawings={trial.trial_id: _small(trial) for trial in state.front if trial.trial_id not in listed},
    )


CONFIRMED_FIRST = (
    "The candidates of the confirmation come first, with the mean and the interval of {} in their new trainings; then "
    "the other completed trials."
)


def _confirmed(trial: Trial, confirmed: Mapping[str, ConfirmedCandidate], metric: str, winner: str) -> list[Value]:
    """The cells of a trial in a confirmation: what it says (`winner` of the first), the mean and the interval."""
    found = confirmed.get(trial.trial_id)
    if found is None or found.problem is not None:
        return [text_value("" if found is None else "out"), number_value(None), Value("-", "")]
    score = found.scores[metric]
    words = "may be as good" if found.in_doubt else "behind"
    return [
        text_value(winner if found is next(iter(confirmed.values())) else words),
        number_value(score.mean),
        Value(range_in_words(score.interval), "" if score.interval is None else score.interval[0]),
    ]


def _front(state: RunState, confirmed: Mapping[str, ConfirmedCandidate]) -> dict[str, str]:
    """What is known of each trial's place on the Pareto front; a trial without an entry is not on it."""
    before = {trial.trial_id: "unconfirmed" if confirmed else "yes" for trial in state.front}
    return before | {
        name: "out" if one.problem is not None else "yes" if one.on_front else "in doubt" if one.in_doubt else ""
        for name, one in confirmed.items()
    }


def _small(trial: Trial) -> str:
    return svg.small(architecture_of(trial), f"trial {trial.trial_id}")


def architecture_of(trial: Trial) -> Architecture:
    """Read the architecture of a trial.

    Raises:
        RunDirectoryError: it is invalid.
    """
    try:
        return Architecture.from_json(trial.architecture)
    except ValueError as error:
        raise RunDirectoryError(f"the recorded architecture of trial {trial.trial_id} is invalid: {error}") from error
