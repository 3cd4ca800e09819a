"""Groups runs that differ only in their seed, and finds what the groups differ in. Pure functions of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import InputError
from orchestrator.report.comparison.best_so_far import MeanCurve, mean_curve
from orchestrator.report.comparison.runs import ComparedRun
from orchestrator.significance import Mean, mean_of

MAX_LABEL_LENGTH = 40
NOT_NEGATIVE = (0.0, math.inf)


@dataclass(frozen=True)
class Difference:
    """A setting that differs between groups; its value is None in a group that does not set it."""

    setting: str
    values: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs with the same settings, in the order of their seeds.

    Each mean is over the runs that have a value; None if no run has one.
    """

    label: str
    searches: tuple[ComparedRun, ...]

    @property
    def bests(self) -> list[float]:
        """The best score of each run in which a trial has completed."""
        return [search.best for search in self.searches if search.best is not None]

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The lowest and the highest possible score, the same for all runs; None if none are known."""
        first = self.searches[0]
        return first.info.bounds_of(first.metric)

    @property
    def best(self) -> Mean | None:
        """The mean of the best scores."""
        return _mean(self.bests, self.bounds)

    @property
    def trained(self) -> Mean | None:
        """The mean number of trainings that ended."""
        return _mean([search.trained for search in self.searches], NOT_NEGATIVE)

    @property
    def epochs(self) -> Mean | None:
        """The mean number of trained epochs."""
        return _mean([search.epochs for search in self.searches], NOT_NEGATIVE)

    @property
    def seconds(self) -> Mean | None:
        """The mean duration of the searches."""
        return _mean([search.seconds for search in self.searches], NOT_NEGATIVE)

    @property
    def utilisation(self) -> Mean | None:
        """The mean share of the slots' time that was spent on training (0 to 1)."""
        found = [search.state.utilisation() for search in self.searches]
        return _mean([value for value in found if value is not None], (0.0, 1.0))

    @property
    def by_trials(self) -> MeanCurve:
        """The mean best so far against trials."""
        return mean_curve([search.history.by_trials for search in self.searches], self.bounds)

    @property
    def by_seconds(self) -> MeanCurve:
        """The mean best so far against seconds."""
        return mean_curve([search.history.by_seconds for search in self.searches], self.bounds)


def group_runs(searches: Sequence[ComparedRun]) -> tuple[tuple[Group, ...], tuple[Difference, ...]]:
    """Return the groups, in the order of their first runs, and the settings in which they differ.

    Raises:
        InputError: two runs have the same settings and the same seed, so one of them adds nothing.
    """
    alike: list[list[ComparedRun]] = []
    for search in searches:
        members = next((group for group in alike if group[0].settings == search.settings), None)
        if members is None:
            alike.append([search])
            continue
        twin = next((member for member in members if member.seed == search.seed), None)
        if twin is not None:
            raise InputError(
                f"{twin.location} and {search.location} are the same search with the same seed {search.seed}"
                f"{_only_longer(twin, search)}; leave one out, or search again with another seed (run.seed)"
            )
        members.append(search)
    differences = _differences([group[0] for group in alike])
    labels = _labels(alike, differences)
    groups = (
        Group(label=label, searches=tuple(sorted(members, key=lambda search: search.seed)))
        for label, members in zip(labels, alike, strict=True)
    )
    return tuple(groups), differences


def _only_longer(first: ComparedRun, second: ComparedRun) -> str:
    """Say why two searches are the same although their hours differ; nothing if these are equal."""
    hours = [search.info.config.get("budget", {}).get("hours") for search in (first, second)]
    return "" if hours[0] == hours[1] else " (budget.hours does not count, because budget.trials is set)"


def _differences(searches: Sequence[ComparedRun]) -> tuple[Difference, ...]:
    names = dict.fromkeys(name for search in searches for name in search.settings)
    found = [Difference(name, tuple(search.settings.get(name) for search in searches)) for name in names]
    return tuple(one for one in found if any(value != one.values[0] for value in one.values))


def _labels(alike: Sequence[Sequence[ComparedRun]], differences: Sequence[Difference]) -> list[str]:
    """Label each group by the settings in which it differs, or by a letter if such a label is too long."""
    if len(alike) == 1:
        return [str(alike[0][0].info.config.get("run", {}).get("name", alike[0][0].location))]
    names = [one for one in differences if one.setting.endswith(".name")]
    labels = [_label(names, index) for index in range(len(alike))]
    if len(set(labels)) < len(labels):
        labels = [_label(differences, index) for index in range(len(alike))]
    if max(map(len, labels)) > MAX_LABEL_LENGTH:
        return [f"group {_letter(index)}" for index in range(len(alike))]
    return labels


def _label(differences: Sequence[Difference], index: int) -> str:
    """Write the values of a group with their keys; a name, such as `nsgaii`, needs none."""
    pairs = [(one.setting.rpartition(".")[2], format_setting(one.values[index])) for one in differences]
    return ", ".join(value if key == "name" else f"{key} {value}" for key, value in pairs)


def format_setting(value: Any) -> str:
    """Format the value of a setting."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _letter(index: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    before, last = divmod(index, 26)
    return (_letter(before - 1) if before else "") + chr(ord("A") + last)


def _mean(values: Sequence[float], bounds: tuple[float, float] | None) -> Mean | None:
    return mean_of(values, bounds) if values else None
