"""Runs that differ in their seed only, put together; and in what the groups differ. Pure functions of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import InputError
from orchestrator.report.comparison.best_so_far import MeanCurve, mean_curve
from orchestrator.report.comparison.runs import ComparedRun
from orchestrator.significance import Mean, mean_of

LONGEST_LABEL = 40


@dataclass(frozen=True)
class Difference:
    """A setting that is not the same in all groups; None in a group that does not have it, or has it unset."""

    setting: str
    values: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs with the same settings, by seed. The means are over the runs that can tell; None where none can."""

    label: str
    searches: tuple[ComparedRun, ...]

    @property
    def bests(self) -> list[float]:
        """One for each run in which a trial has completed."""
        return [search.best for search in self.searches if search.best is not None]

    @property
    def best(self) -> Mean | None:
        return _mean(self.bests)

    @property
    def trained(self) -> Mean | None:
        return _mean([search.trained for search in self.searches])

    @property
    def epochs(self) -> Mean | None:
        return _mean([search.epochs for search in self.searches])

    @property
    def seconds(self) -> Mean | None:
        return _mean([search.seconds for search in self.searches])

    @property
    def utilisation(self) -> Mean | None:
        found = [search.state.utilisation() for search in self.searches]
        return _mean([value for value in found if value is not None])

    @property
    def by_trials(self) -> MeanCurve:
        return mean_curve([search.history.by_trials for search in self.searches])

    @property
    def by_seconds(self) -> MeanCurve:
        return mean_curve([search.history.by_seconds for search in self.searches])


def grouped(searches: Sequence[ComparedRun]) -> tuple[tuple[Group, ...], tuple[Difference, ...]]:
    """The groups in the order in which their first runs are given, and in what they differ.

    Raises:
        InputError: two runs have the same settings and the same seed, so that one of them says nothing new.
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
                f"{twin.location} and {search.location} are the same search with the same seed {search.seed}; leave "
                "one out, and search again with another seed (run.seed)"
            )
        members.append(search)
    differences = _differences([group[0] for group in alike])
    labels = _labels(alike, differences)
    groups = (
        Group(label=label, searches=tuple(sorted(members, key=lambda search: search.seed)))
        for label, members in zip(labels, alike, strict=True)
    )
    return tuple(groups), differences


def _differences(searches: Sequence[ComparedRun]) -> tuple[Difference, ...]:
    names = dict.fromkeys(name for search in searches for name in search.settings)
    found = [Difference(name, tuple(search.settings.get(name) for search in searches)) for name in names]
    return tuple(one for one in found if any(value != one.values[0] for value in one.values))


def _labels(alike: Sequence[Sequence[ComparedRun]], differences: Sequence[Difference]) -> list[str]:
    """What is special about each group, or a letter where that is too long to be a name."""
    if len(alike) == 1:
        return [str(alike[0][0].info.config.get("run", {}).get("name", alike[0][0].location))]
    names = [one for one in differences if one.setting.endswith(".name")]
    labels = [", ".join(str(one.values[index]) for one in names) for index in range(len(alike))]
    if len(set(labels)) < len(labels):
        labels = [
            ", ".join(f"{one.setting.rpartition('.')[2]} {shown(one.values[index])}" for one in differences)
            for index in range(len(alike))
        ]
    if max(map(len, labels)) > LONGEST_LABEL:
        return [f"group {_letter(index)}" for index in range(len(alike))]
    return labels


def shown(value: Any) -> str:
    """A setting's value, for people."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _letter(index: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    before, last = divmod(index, 26)
    return (_letter(before - 1) if before else "") + chr(ord("A") + last)


def _mean(values: Sequence[float]) -> Mean | None:
    return mean_of(values) if values else None
