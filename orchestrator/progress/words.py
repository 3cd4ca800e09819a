"""Numbers, times and curves as short text for one line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from orchestrator.record import CandidatesCompared, RunState, Trial
from orchestrator.words import counted, join_words

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 30


def describe(trial: Trial, state: RunState) -> str:
    """Return the trial's scores with its id and epochs."""
    return f"{scores(trial, state)} ({trial_label(trial)})"


def trial_label(trial: Trial) -> str:
    """Return the trial's id and epochs, such as `trial 00012, 9 epochs`."""
    return f"trial {trial.trial_id}, {counted(trial.epochs, 'epoch')}"


def scores(trial: Trial, state: RunState) -> str:
    """Return the trial's value in each objective, after its name unless it is the validation accuracy."""
    return ", ".join(
        number(trial.metric(name)) if name == "val_accuracy" else f"{name} {number(trial.metric(name))}"
        for name in state.objectives
    )


def describe_confirmed(compared: CandidatesCompared, state: RunState) -> str:
    """Return the winner's means with their intervals, its trial and the number of its new trainings."""
    winner = compared.winner
    values = []
    for name in state.objectives:
        score = winner.scores[name]
        value = number(score.mean) if name == "val_accuracy" else f"{name} {number(score.mean)}"
        if score.interval is not None:
            value += f", between {number(score.interval[0])} and {number(score.interval[1])}"
        values.append(value)
    return f"{'; '.join(values)} (trial {winner.trial_id}, {counted(winner.trainings, 'new training')})"


def rivals_in_words(compared: CandidatesCompared) -> str:
    """Say which candidates cannot be distinguished from the winner."""
    names = [rival.trial_id for rival in compared.rivals]
    if not names:
        return (
            "no other candidate can be the best"
            if len(compared.candidates) > 1
            else "no other candidate was trained again"
        )
    return f"{join_words(names)} cannot be distinguished from it"


def number(value: float | None) -> str:
    """Format a number: whole ones with thousands separated, others to four digits, None as `-`."""
    if value is None:
        return "-"
    if 0 < abs(value) < 0.01:
        return f"{value:.3g}"
    return f"{value:,.0f}" if value == round(value) and abs(value) >= 10 else f"{value:.4f}"


def signed_range(interval: tuple[float, float] | None) -> str:
    """Format the interval of a difference: `+0.0100 to +0.0200`, None as `-`."""
    return "-" if interval is None else f"{interval[0]:+.4f} to {interval[1]:+.4f}"


def sparkline(values: Sequence[float]) -> str:
    """Draw values as bars from the lowest to the highest, in at most 30 characters; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    low, span = min(values), max(values) - min(values) or 1.0
    step = -(-len(values) // CURVE_WIDTH)
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1))] for value in values[step - 1 :: step])


def clock(seconds: float) -> str:
    """Format a duration as on a clock: 01:05, 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def format_estimate(seconds: float) -> str:
    """Format an estimated duration, rounded: 20 s, 8 min, 2 h 10 min, 3 days 4 h."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        hours, minutes = divmod(10 * round(minutes / 10), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(minutes / 60), 24)
    return f"{counted(days, 'day')} {hours} h" if hours else counted(days, "day")


def plain_line(message: str) -> str:
    """Return a message on one line, without control characters that colour it or move the cursor."""
    plain = Text.from_ansi(message).plain
    return " ".join("".join(sign if sign.isprintable() else " " for sign in plain).split())
