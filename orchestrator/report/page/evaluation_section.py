"""Shows an evaluation: the intervals of its candidates, the tests of the winner, and how far the search agrees."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.progress import number, signed_range
from orchestrator.record import Difference, EvaluatedScores, Evaluation
from orchestrator.report.confirmation import range_in_words
from orchestrator.report.page.interval_rows import IntervalRow, interval_rows
from orchestrator.report.page.plot import GREEN, GREY, ORANGE, RED, SKY, Plot, metric_label, text
from orchestrator.report.page.table import Table, text_table
from orchestrator.significance import is_chance
from orchestrator.words import counted

KINDS = {
    "the winner": GREEN,
    "better than the winner": RED,
    "cannot be distinguished from the winner": ORANGE,
    "behind it": GREY,
    "not tested": SKY,
}
"""How a candidate compares with the winner. Only that of the random search can be better."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSection:
    """What the page shows of an evaluation."""

    plot: Plot
    tests: Table | None
    """The winner against each other candidate; None without a winner."""
    agreement: Table | None
    """The rank correlations; None if none is known."""


def evaluation_section(evaluation: Evaluation) -> EvaluationSection:
    """Make the section of an evaluation, finished or not."""
    known = [one for one in evaluation.candidates if one.mean is not None]
    kinds = {one.name: _kind(one.name, evaluation) for one in known}
    label = metric_label(evaluation.metric)
    each = counted(evaluation.folds * len(evaluation.seeds), "time")
    plot = Plot(
        name="evaluation-intervals",
        title=f"Cross-validation: {label}",
        caption=(
            f"Each candidate was trained {each}: {evaluation.folds} folds, {counted(len(evaluation.seeds), 'seed')}. "
            "Large dot: the mean of its trainings, which are the small dots. Line: its interval; all intervals hold "
            "the true scores at once with a probability of 95 %. Diamond: the score in the search, by which the "
            f"candidates were chosen, so it is often too good. {evaluation.verdict}"
        ),
        figure=interval_rows([_row(one, kinds) for one in known], training="training", x=text(label))
        if known
        else None,
        empty_text=evaluation.verdict,
        legend={name: colour for name, colour in KINDS.items() if name in kinds.values()},
    )
    return EvaluationSection(plot=plot, tests=_tests(evaluation), agreement=_agreement(evaluation))


def _row(one: EvaluatedScores, kinds: dict[str, str]) -> IntervalRow:
    assert one.mean is not None, "candidates without scores are not drawn"
    return IntervalRow(
        name=text(one.name),
        trial_id=one.trial_id,
        colour=KINDS[kinds[one.name]],
        mean=one.mean,
        interval=one.interval,
        scores=[training.score for training in one.scores],
        before=one.search_score,
        label=f"{text(one.name)}: mean {number(one.mean)} of {counted(len(one.scores), 'training')}, "
        f"95 % interval {range_in_words(one.interval)}",
    )


def _differences(evaluation: Evaluation) -> dict[str, Difference]:
    """Return the winner's differences by the name of the other candidate."""
    found: dict[str, Difference] = {one.other: one for one in evaluation.comparisons}
    random = None if evaluation.random is None else evaluation.random.comparison
    if random is not None:
        found.setdefault(random.other, random)
    return found


def _kind(name: str, evaluation: Evaluation) -> str:
    if name == evaluation.winner:
        return "the winner"
    found = _differences(evaluation).get(name)
    if found is None or found.p_adjusted is None:
        return "not tested"
    if is_chance(found.p_adjusted):
        return "cannot be distinguished from the winner"
    is_behind = (found.difference > 0) != (evaluation.direction == "minimize")
    return "behind it" if is_behind else "better than the winner"


def _tests(evaluation: Evaluation) -> Table | None:
    if evaluation.winner is None:
        return None
    return text_table(
        [f"{evaluation.winner} against", "difference", "95 % interval", "p", "p adjusted"],
        (
            [name, f"{one.difference:+.4f}", signed_range(one.interval), number(one.p), number(one.p_adjusted)]
            for name, one in _differences(evaluation).items()
        ),
    )


def _agreement(evaluation: Evaluation) -> Table | None:
    known = [one for one in evaluation.rank_correlations if one.spearman is not None]
    if not known:
        return None
    return text_table(
        ["after epoch", "candidates", "Spearman", "Kendall"],
        (
            [str(one.epoch), str(one.candidates), _signed(one.spearman), _signed(one.kendall)]
            for one in evaluation.rank_correlations
        ),
    )


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
