"""Compares searches: groups, tests between them, and notes for the reader. Returns values and writes no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from orchestrator.errors import InputError
from orchestrator.objectives import Direction
from orchestrator.record import RunDirectory
from orchestrator.report.comparison.best_so_far import FINISHED
from orchestrator.report.comparison.groups import Difference, Group, group_runs
from orchestrator.report.comparison.runs import ComparedRun, check_comparable, read_search
from orchestrator.significance import WelchTest, holm, welch
from orchestrator.words import join_words

MIN_SEEDS = 3
"""A group with fewer seeds is not tested."""


@dataclass(frozen=True)
class Pair:
    """Two groups, by their labels, and the test between their best scores."""

    first: str
    second: str
    test: WelchTest
    p_adjusted: float | None
    """`test.p`, adjusted for the number of pairs by Holm's method; None if `test.p` is None."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Searches in groups, compared by the scores of their winners."""

    metric: str
    """The first objective, by which groups are compared."""
    direction: Direction
    score: Literal["confirmed", "unconfirmed"]
    """`confirmed`: a run's score is the mean of its winner's new trainings, if all runs that have a score have one.
    `unconfirmed`: it is that of its best trial in the search."""
    objectives: dict[str, Direction]
    groups: tuple[Group, ...]
    """The best first; groups without a completed trial last."""
    differences: tuple[Difference, ...]
    pairs: tuple[Pair, ...]
    """All pairs of groups that have at least `MIN_SEEDS` seeds."""
    notes: tuple[str, ...]
    """Sentences on what limits the comparison."""


def compare_runs(run_dirs: Sequence[str]) -> Comparison:
    """Read the records of searches and compare them.

    Raises:
        InputError: there are fewer than two runs, a run is given twice, or two runs cannot be compared.
        RunDirectoryError: a record cannot be read, or is not the record of a search.
        ConfigError: this version cannot read the configuration of a run.
    """
    folders = [RunDirectory.at(location).folder for location in run_dirs]
    if len(folders) < 2:
        raise InputError(f"{len(folders)} run directory is given; a comparison needs at least 2")
    twice = next((folder for index, folder in enumerate(folders) if folder in folders[:index]), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice; give each run once")
    searches = [read_search(location) for location in run_dirs]
    check_comparable(searches)
    return compare_searches(searches)


def compare_searches(searches: Sequence[ComparedRun]) -> Comparison:
    """Compare at least two searches, which `check_comparable` has accepted.

    Raises:
        InputError: two of them are the same search with the same seed.
    """
    objectives = searches[0].state.objectives
    metric, direction = next(iter(objectives.items()))
    scored = [search for search in searches if search.in_search is not None]
    confirmed = bool(scored) and all(search.confirmed is not None for search in scored)
    searches = [replace(search, by_confirmed=confirmed) for search in searches]
    groups, differences = group_runs(searches)
    order = sorted(range(len(groups)), key=lambda index: _loss(groups[index], direction))
    groups = tuple(groups[index] for index in order)
    return Comparison(
        metric=metric,
        direction=direction,
        score="confirmed" if confirmed else "unconfirmed",
        objectives=dict(objectives),
        groups=groups,
        differences=tuple(Difference(one.setting, tuple(one.values[index] for index in order)) for one in differences),
        pairs=_pairs([group for group in groups if len(group.bests) >= MIN_SEEDS], groups[0].bounds),
        notes=tuple(_notes(searches, groups, differences)),
    )


def _loss(group: Group, direction: Direction) -> float:
    if group.best is None:
        return float("inf")
    return -group.best.mean if direction == "maximize" else group.best.mean


def _pairs(groups: Sequence[Group], bounds: tuple[float, float] | None) -> tuple[Pair, ...]:
    pairs = list(combinations(groups, 2))
    tests = [welch(first.bests, second.bests, bounds) for first, second in pairs]
    adjusted = holm([test.p for test in tests])
    return tuple(
        Pair(first.label, second.label, test, p)
        for (first, second), test, p in zip(pairs, tests, adjusted, strict=True)
    )


SECTIONS = {
    "space": "The spaces differ: a better score may come from the space and not from the sampler.",
    "network": "The networks around the cells differ: the same cell scores differently in each group.",
    "training": "The training settings differ: the same cell scores differently in each group.",
    "trainable": "Candidates were trained by different code, or measured differently.",
    "objectives": "The constraints differ: a candidate may be feasible in one group and infeasible in another.",
    "warm_start": "The groups started from results of different earlier runs.",
    "budget": "The budgets differ: a longer search finds better candidates anyway; see the curves at equal trials.",
    "confirmation": "The confirmations differ: their numbers of candidates or of trainings are not the same.",
    "resources": "The workers differ: so do the times, and what a sampler knows at each proposal.",
}
"""The note for each section whose settings differ between groups."""


def _notes(
    searches: Sequence[ComparedRun], groups: Sequence[Group], differences: Sequence[Difference]
) -> Iterable[str]:
    first, *others = searches[0].state.objectives
    if others:
        yield f"Scores, tests and verdict are only about the first objective, {first}, not {join_words(others)}."
    sections = {one.setting.partition(".")[0] for one in differences}
    yield from (text for section, text in SECTIONS.items() if section in sections)
    yield from _confirmation_notes(searches)
    for search in searches:
        if search.standing not in FINISHED:
            standing = search.standing.replace("_", " ")
            yield f"{search.location} has not finished ({standing}); trainings that have ended: {search.trained}."
        if search.in_search is None:
            yield f"{search.location} has no completed trial, so its group's mean leaves it out."
    for group in groups:
        if len(group.searches) == 1:
            yield f"{group.label} has one seed, so it has no interval: its score may be luck."
    versions = {name for search in searches for name in search.info.versions}
    for name in sorted(versions):
        found = sorted({search.info.versions.get(name, "unknown") for search in searches})
        if len(found) > 1:
            yield f"The runs used different versions of {name}: {', '.join(found)}."


def _confirmation_notes(searches: Sequence[ComparedRun]) -> Iterator[str]:
    """Say which score of the runs is compared."""
    scored = [search for search in searches if search.in_search is not None]
    missing = [search.location for search in scored if search.confirmed is None]
    if not scored:
        return
    if not missing:
        yield "The scores are confirmed: each is the mean of the new trainings of a run's winner."
        return
    some = "No run is confirmed"
    if len(missing) < len(scored):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        some = f"Not all runs are confirmed ({len(scored) - len(missing)} of {len(scored)}; not {missing[0]}{more})"
    yield f"{some}, so the scores are those of the best trials in the searches, which are too optimistic."


__all__ = ["Comparison", "Pair", "compare_runs", "compare_searches"]
