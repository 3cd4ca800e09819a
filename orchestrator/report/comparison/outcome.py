"""What a comparison comes to: groups, tests between them, and what a reader must know. Values; no files are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from orchestrator.errors import InputError
from orchestrator.objectives import Direction
from orchestrator.record import RunDirectory
from orchestrator.report.comparison.best_so_far import WHOLE
from orchestrator.report.comparison.groups import Difference, Group, grouped
from orchestrator.report.comparison.runs import ComparedRun, check_comparable, read_search
from orchestrator.significance import WelchTest, holm, welch

MIN_SEEDS = 3
"""A group with fewer seeds is not tested."""


@dataclass(frozen=True)
class Pair:
    """Two groups, by their labels, and the test between their bests; `p_adjusted` is for so many pairs as there are.

    None where `test.p` is.
    """

    first: str
    second: str
    test: WelchTest
    p_adjusted: float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of a comparison. `groups` are best first, those without a completed trial last; `pairs` are of all groups with
    enough seeds; `notes` are sentences."""

    metric: str
    direction: Direction
    objectives: dict[str, Direction]
    groups: tuple[Group, ...]
    differences: tuple[Difference, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


def compare(run_dirs: Sequence[str]) -> Outcome:
    """Read the records of searches and compare them.

    Raises:
        InputError: fewer than two runs, one that is named twice, or two whose scores do not mean the same.
        RunDirectoryError: a record cannot be read, or is none of a search.
        ConfigError: the configuration of one is not of this version.
    """
    folders = [RunDirectory.at(location).folder for location in run_dirs]
    if len(folders) < 2:
        raise InputError(f"{len(folders)} run directory is given; at least 2 are needed for a comparison")
    twice = next((folder for index, folder in enumerate(folders) if folder in folders[:index]), None)
    if twice is not None:
        raise InputError(f"{twice} is named twice; name each run once")
    searches = [read_search(location) for location in run_dirs]
    check_comparable(searches)
    return outcome_of(searches)


def outcome_of(searches: Sequence[ComparedRun]) -> Outcome:
    """
    Args:
        searches: at least two that can be compared.

    Raises:
        InputError: two are the same search with the same seed.
    """
    objectives = searches[0].state.objectives
    metric, direction = next(iter(objectives.items()))
    groups, differences = grouped(searches)
    order = sorted(range(len(groups)), key=lambda index: _loss(groups[index], direction))
    groups = tuple(groups[index] for index in order)
    return Outcome(
        metric=metric,
        direction=direction,
        objectives=dict(objectives),
        groups=groups,
        differences=tuple(Difference(one.setting, tuple(one.values[index] for index in order)) for one in differences),
        pairs=_pairs([group for group in groups if len(group.bests) >= MIN_SEEDS]),
        notes=tuple(_notes(searches, groups, differences)),
    )


def _loss(group: Group, direction: Direction) -> float:
    if group.best is None:
        return float("inf")
    return -group.best.mean if direction == "maximize" else group.best.mean


def _pairs(groups: Sequence[Group]) -> tuple[Pair, ...]:
    pairs = list(combinations(groups, 2))
    tests = [welch(first.bests, second.bests) for first, second in pairs]
    # A pair that says nothing still counts as one that was looked at.
    adjusted = holm([1.0 if test.p is None else test.p for test in tests])
    return tuple(
        Pair(first.label, second.label, test, None if test.p is None else p)
        for (first, second), test, p in zip(pairs, tests, adjusted, strict=True)
    )


SECTIONS = {
    "space": "The spaces differ: a better best may be the space's and not the sampler's.",
    "network": "The networks around the cells differ, so that equal cells have other scores.",
    "training": "Candidates were not trained alike, so that equal cells have other scores.",
    "trainable": "Candidates were trained by different code, or measured differently.",
    "objectives": "The constraints differ: what one group may propose, another may not.",
    "warm_start": "The groups began with different knowledge of earlier runs.",
    "budget": "The budgets differ: a longer search finds better ones by that alone; see the curves at equal trials.",
    "resources": "The workers differ: so do the times, and what a sampler knows when it proposes.",
}
"""What a reader must know if settings of a section differ between groups."""


def _notes(
    searches: Sequence[ComparedRun], groups: Sequence[Group], differences: Sequence[Difference]
) -> Iterable[str]:
    sections = {one.setting.partition(".")[0] for one in differences}
    yield from (text for section, text in SECTIONS.items() if section in sections)
    for search in searches:
        if search.standing not in WHOLE:
            standing = search.standing.replace("_", " ")
            yield f"{search.location} is not a whole search: {standing}, with {search.trained} trainings ended."
        if search.best is None:
            yield f"{search.location} has no completed trial, and is left out of its group's mean."
    for group in groups:
        if len(group.searches) == 1:
            yield f"{group.label} has one seed, so there is no interval: it could as well be luck."
    versions = {name for search in searches for name in search.info.versions}
    for name in sorted(versions):
        found = sorted({search.info.versions.get(name, "unknown") for search in searches})
        if len(found) > 1:
            yield f"The runs were made with different versions of {name}: {', '.join(found)}."


__all__ = ["Outcome", "Pair", "compare", "outcome_of"]
