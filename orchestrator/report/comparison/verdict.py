"""States the verdict of a comparison in sentences that claim no more than its tests show."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.progress import number
from orchestrator.report.comparison.compare import MIN_SEEDS, Comparison, Pair
from orchestrator.report.comparison.groups import Group
from orchestrator.significance import is_chance
from orchestrator.words import counted, join_words


def comparison_verdict(comparison: Comparison) -> str:
    """Return the verdict as one text of a few sentences."""
    return " ".join(verdict_sentences(comparison))


def verdict_sentences(comparison: Comparison) -> list[str]:
    """Return the sentences of the verdict; the first is the verdict itself."""
    scored = [group for group in comparison.groups if group.best is not None]
    if not scored:
        return ["Nothing can be compared: no trial has completed in any run."]
    if len(comparison.groups) == 1:
        return [f"The runs differ only in their seeds: {_best(comparison, scored[0])}."]
    tested = [group for group in scored if len(group.bests) >= MIN_SEEDS]
    if len(tested) < 2:
        counts = join_words([f"{group.label} has {len(group.bests)}" for group in scored])
        return [
            f"Too few seeds for a test: it needs two groups with at least {MIN_SEEDS} seeds each; {counts}.",
            _untested_lead(comparison, scored),
        ]
    better = " Its mean is better than those of the tested groups, which may be luck."
    untested = [group for group in comparison.groups if group not in tested]
    return [
        _of_tested(comparison, tested, of_all=len(tested) == len(scored)),
        *(
            f"{group.label} is not tested: it has {counted(len(group.bests), 'seed')}; a test needs {MIN_SEEDS}."
            f"{better * (group is scored[0] and not _are_level(group, tested[0]))}"
            for group in untested
        ),
    ]


def _of_tested(comparison: Comparison, tested: Sequence[Group], *, of_all: bool) -> str:
    leader = tested[0].label
    pairs = [pair for pair in comparison.pairs if pair.first == leader]
    level = [pair.second for pair in pairs if is_chance(pair.p_adjusted)]
    worse = [pair.second for pair in pairs if pair.second not in level]
    how = _how(pairs, adjusted=len(comparison.pairs) > 1)
    if not level:
        others = "each of the others" if len(worse) > 1 else worse[0]
        return (
            f"{leader} is ahead: {_best(comparison, tested[0], of_all=of_all)}, and its difference from {others} is "
            f"more than chance ({how})."
        )
    rest = f"; {join_words(worse)} {'is' if len(worse) == 1 else 'are'} worse than {leader}" if worse else ""
    return f"No difference found among {join_words([leader, *level])}{rest} ({how})."


def _untested_lead(comparison: Comparison, scored: Sequence[Group]) -> str:
    leader = scored[0]
    level = [group for group in scored if _are_level(group, leader)]
    if len(level) == 1:
        return f"{leader.label} leads, which may be luck: {_best(comparison, leader)}."
    assert leader.best is not None, "only groups with a score are described"
    each = f"the mean {_score(comparison)} of each is {number(leader.best.mean)}"
    return f"{join_words([group.label for group in level])} are tied: {each}."


def _are_level(first: Group, second: Group) -> bool:
    """Whether both have the same mean, but for rounding."""
    return bool(first.best and second.best and math.isclose(first.best.mean, second.best.mean))


def _how(pairs: Sequence[Pair], *, adjusted: bool) -> str:
    found = sorted(pair.p_adjusted for pair in pairs if pair.p_adjusted is not None)
    if not found:
        return "all scores within each group are equal, so chance cannot be estimated"
    p = f"p = {number(found[0])}" if len(found) == 1 else f"p from {number(found[0])} to {number(found[-1])}"
    return f"Welch's t-test on the scores of the seeds, {p}{', adjusted by Holm' if adjusted else ''}"


def _best(comparison: Comparison, group: Group, *, of_all: bool = True) -> str:
    best = group.best
    assert best is not None, "only groups with a score are described"
    extreme = "highest" if comparison.direction == "maximize" else "lowest"
    whose, place = (
        ("its", f"the {extreme}{'' if of_all else ' of those tested'}, ") if len(comparison.groups) > 1 else ("the", "")
    )
    low, high = best.interval or (None, None)
    spread = "" if low is None else f" (95 % interval {number(low)} to {number(high)})"
    seeds = counted(best.count, "seed")
    return f"{whose} mean {_score(comparison)} over {seeds} is {place}{number(best.mean)}{spread}"


def _score(comparison: Comparison) -> str:
    return f"{'confirmed' if comparison.score == 'confirmed' else 'best'} {comparison.metric}"
