"""Plots what a confirmation has found: the means and intervals of the candidates, beside their scores in the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from orchestrator.progress import clock, number, rivals_in_words
from orchestrator.record import CandidatesCompared, ConfirmedCandidate, RunState, score_of
from orchestrator.report.confirmation import how_chosen, range_in_words, standing_of, why_race_ended, why_unconfirmed
from orchestrator.report.page.interval_rows import IntervalRow, interval_rows, line, marks
from orchestrator.report.page.plot import GREEN, GREY, INK, ORANGE, Plot, figure, metric_label, text
from orchestrator.report.page.record import PageRecord
from orchestrator.words import counted, join_words

COLOURS = {"leads": GREEN, "in_doubt": ORANGE, "behind": GREY, "out": GREY}
KINDS = {"the winner": GREEN, "cannot be distinguished from the winner": ORANGE, "behind it": GREY}
FRONT_KINDS = {"on the front": GREEN, "cannot be distinguished from the front": ORANGE, "dropped out": GREY}
"""With several objectives."""


def confirmation_plot(record: PageRecord) -> Plot:
    """Plot the means and intervals of a confirmation; with several objectives those of the first two."""
    state = record.state
    compared, names = state.confirmed, list(state.objectives)
    if compared is None:
        reason = why_unconfirmed(record.standing, state, record.info)
        return Plot(
            name="confirmation",
            title="Scores of new trainings",
            caption="",
            figure=None,
            empty_text=f"The winner is unconfirmed: {reason}.",
        )
    several = len(names) > 1
    colours = {one.trial_id: COLOURS[standing_of(one, state)] for one in compared.candidates}
    known = [one for one in compared.candidates if one.scores]
    found = _plane(known, state, colours) if several else _rows(known, state, colours)
    how = _how_to_read_several(state) if several else _how_to_read(state)
    which = "The winner" if how_chosen(record.follow_ups, state) != "evaluated" else "The winner before the evaluation"
    said = [f"{which} is {compared.winner.trial_id}; {rivals_in_words(compared)}."]
    said = confirmed_front(compared, state) if several else said
    return Plot(
        name="confirmation",
        title=f"New trainings: {' against '.join(map(metric_label, names[:2]))}",
        caption=" ".join([*what_was_trained(record), *said, *left_out(compared), how]),
        figure=found,
        legend={} if several else {name: colour for name, colour in KINDS.items() if colour in colours.values()},
    )


def what_was_trained(record: PageRecord) -> list[str]:
    """Say in sentences what was trained again, at what cost, and why the race ended."""
    state = record.state
    plan, repeats = state.confirmation, state.planned_repeats()
    assert plan is not None, "it is on record"
    seconds = sum(repeat.train_seconds for repeat in repeats)
    before = sum(trial.train_seconds for trial in state.trials.values())
    is_fresh = all(repeat.resample is not None and repeat.resample.split == "fresh" for repeat in repeats)
    images = "new splits of the training and validation images" if is_fresh else "the split of the search"
    share = f", {seconds / before:.0%} of the training time of the search" if before else ""
    sentences = [
        f"{counted(len(plan.candidates), 'candidate')} had {counted(len(repeats), 'new training')} in all, with new "
        f"seeds and {images}. These took {clock(seconds)} of training time{share}."
    ]
    if plan.noise is not None:
        source = "earlier new trainings" if plan.noise_from == "repeats" else "the number of validation images"
        sentences.append(
            f"The {metric_label(score_of(state.objectives)[0])} of one training was expected to vary by about "
            f"{number(plan.noise)}, judging by {source}."
        )
    if record.standing == "running":
        return [*sentences, "The confirmation is still running."]
    return [*sentences, f"The confirmation ended because {why_race_ended(record.standing, state)}."]


def confirmed_front(compared: CandidatesCompared, state: RunState) -> list[str]:
    """Say in sentences which candidates are on the confirmed Pareto front."""
    standings = {one.trial_id: standing_of(one, state) for one in compared.candidates}
    front, doubted, dropped = (
        [name for name, standing in standings.items() if standing == kind] for kind in ("leads", "in_doubt", "behind")
    )
    sentences = [f"By their means {join_words(front)} {_are(front)} on the front."]
    if doubted:
        sentences.append(f"{join_words(doubted)} {_are(doubted)} not, but cannot be distinguished from the front.")
    return [*sentences, *([f"{join_words(dropped)} dropped out."] if dropped else [])]


def left_out(compared: CandidatesCompared) -> list[str]:
    """Say in sentences which candidates a new training has ruled out."""
    return [f"{one.trial_id} is out: {one.problem}." for one in compared.candidates if one.problem is not None]


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _how_to_read(state: RunState) -> str:
    (metric,) = state.objectives
    return (
        f"Large dot: the mean {metric_label(metric)} of the new trainings, which are the small dots. Line: the "
        "interval that holds the true score with a probability of 95 %, also if the best of several was chosen. "
        "Diamond: the score in the search, by which the candidates were chosen, so it is often too good."
    )


def _how_to_read_several(state: RunState) -> str:
    count = len(state.objectives)
    projected = f" The first two of {count} objectives are drawn." if count > 2 else ""
    return f"Dots: means of the new trainings, with 95 % intervals. Diamonds: the scores in the search.{projected}"


def _rows(candidates: Sequence[ConfirmedCandidate], state: RunState, colours: Mapping[str, str]) -> go.Figure:
    """Draw one row per candidate, the best at the top."""
    (metric,) = state.objectives
    rows = []
    for one in candidates:
        score, trial = one.scores[metric], state.trials[one.trial_id]
        values = [repeat.metric(metric) for repeat in state.repeats_of(trial) if repeat.status == "completed"]
        rows.append(
            IntervalRow(
                name=one.trial_id,
                trial_id=one.trial_id,
                colour=colours[one.trial_id],
                mean=score.mean,
                interval=score.interval,
                scores=[value for value in values if value is not None],
                before=trial.metric(metric),
                label=f"trial {one.trial_id}: mean {number(score.mean)} of {counted(one.trainings, 'new training')}, "
                f"95 % interval {range_in_words(score.interval)}; the best with a probability of {one.chance:.0%}",
            )
        )
    return interval_rows(rows, training="new training", x=text(metric_label(metric)))


def _plane(candidates: Sequence[ConfirmedCandidate], state: RunState, colours: Mapping[str, str]) -> go.Figure:
    """Draw the means in the first two objectives."""
    first, second = list(state.objectives)[:2]
    traces = []
    for one in candidates:
        x, y = one.scores[first], one.scores[second]
        colour = colours[one.trial_id]
        traces += [
            line(x.interval or (x.mean, x.mean), (y.mean, y.mean), colour),
            line((x.mean, x.mean), y.interval or (y.mean, y.mean), colour),
        ]
    trials = [state.trials[one.trial_id] for one in candidates]
    traces.append(
        marks(
            "scores in the search",
            [trial.metric(first) for trial in trials],
            [trial.metric(second) for trial in trials],
            {"color": INK, "symbol": "diamond-open", "size": 9},
            "%{text} in the search: %{x}, %{y}",
            labels=[trial.trial_id for trial in trials],
            trials=[trial.trial_id for trial in trials],
        )
    )
    for kind, colour in FRONT_KINDS.items():
        members = [one for one in candidates if colours[one.trial_id] == colour]
        if members:
            traces.append(
                marks(
                    kind,
                    [one.scores[first].mean for one in members],
                    [one.scores[second].mean for one in members],
                    {"color": colour, "size": 12, "line": {"color": "#ffffff", "width": 1}},
                    "%{text}",
                    labels=[_label(one) for one in members],
                    trials=[one.trial_id for one in members],
                )
            )
    return figure(traces, x=text(metric_label(first)), y=text(metric_label(second)), height=440)


def _label(one: ConfirmedCandidate) -> str:
    values = [
        f"{text(metric_label(name))} {number(score.mean)}"
        + ("" if score.interval is None else f", 95 % interval {range_in_words(score.interval)}")
        for name, score in one.scores.items()
    ]
    chance = f"not dominated with a probability of {one.chance:.0%}"
    return "<br>".join([f"trial {one.trial_id}, {counted(one.trainings, 'new training')}", *values, chance])
