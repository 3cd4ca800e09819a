"""A search that is compared, as its record tells; and what forbids to compare two. Knows no groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.config import PLACES, flatten
from orchestrator.errors import InputError, RunDirectoryError
from orchestrator.record import RecordedRun, RunInfo, RunState
from orchestrator.report.comparison.best_so_far import History, replay

INCIDENTAL = ("run", "faults", "logging")
"""Sections that may differ within a group: what a run is called, its seed, when a trial is given up, who is told."""

FACTS = ("train", "validation", "test", "image_shape", "classes")
"""What `run.json` says of the data that does not depend on the seed."""

PER_TRIAL = ("cpus_per_trial", "gpus_per_trial")

Settings = dict[str, Any]
"""By their dotted names: `sampler.name`, `sampler.options.initial`."""


@dataclass(frozen=True)
class ComparedRun:
    """One run. `settings` are those that decide what it finds and how long it takes; the seed is not among them."""

    location: str
    seed: int
    standing: str
    info: RunInfo
    settings: Settings
    data: Settings
    state: RunState
    history: History

    @property
    def metric(self) -> str:
        """The first objective."""
        return next(iter(self.state.objectives))

    @property
    def best(self) -> float | None:
        """The best completed trial's; None if none has completed."""
        return None if self.state.best is None else self.state.best.metric(self.metric)

    @property
    def trained(self) -> int:
        """Trainings that ended."""
        return int(self.history.by_trials.end)

    @property
    def epochs(self) -> int:
        return sum(trial.epochs for trial in self.state.trials.values() if trial.duplicate_of is None)

    @property
    def seconds(self) -> float:
        """Of the search, without the times in which it did not run."""
        return self.history.by_seconds.end


def read_search(location: str) -> ComparedRun:
    """
    Raises:
        RunDirectoryError: there is no run, it did not begin, it is an evaluation's, or its log is corrupt.
        ConfigError: its configuration is not one of this version.
    """
    run = RecordedRun.of_search(location)
    info = run.info
    state, history = replay(run.events())
    if not state.objectives:
        raise RunDirectoryError(f"{run.directory} holds a run that did not begin: its log is empty")
    config = run.config.model_dump(mode="json")
    data = {name: value for name, value in flatten(config.pop("data")).items() if name not in PLACES}
    # As they were found to be: "auto" says nothing of a machine.
    config["resources"] = {**{name: info.resources.get(name) for name in PER_TRIAL}, "slots": state.slots}
    hours = config["budget"].pop("hours")
    settings = flatten({section: values for section, values in config.items() if section not in INCIDENTAL})
    if config["budget"]["trials"] is None:  # then the hours are what ends a search
        settings["budget.hours"] = hours
    return ComparedRun(run.directory.location, info.seed, run.standing, info, settings, data, state, history)


def check_comparable(searches: Sequence[ComparedRun]) -> None:
    """
    Raises:
        InputError: in one line, which two differ in what, so that their scores do not mean the same.
    """
    first, *others = searches
    for other in others:
        pair = f"{first.location} and {other.location} cannot be compared"
        if first.state.objectives != other.state.objectives:
            aims = " in the first and ".join(_aims(search.state.objectives) for search in (first, other))
            raise InputError(f"{pair}: the objective is {aims} in the second")
        for name in (*first.data, *other.data):
            ours, theirs = first.data.get(name), other.data.get(name)
            if ours != theirs:
                raise InputError(f"{pair}: data.{name} is {ours!r} in the first and {theirs!r} in the second")
        for name in FACTS:
            here, there = first.info.data.get(name), other.info.data.get(name)
            if here != there:
                raise InputError(
                    f"{pair}: the data differ, {name} is {_short(here)} in the first and {_short(there)} in the second"
                )
    _check_splits(searches)


def _check_splits(searches: Sequence[ComparedRun]) -> None:
    """The seed decides the split, so that runs with one seed must have the same images in the same parts."""
    by_seed: dict[int, ComparedRun] = {}
    for search in searches:
        first = by_seed.setdefault(search.seed, search)
        if first.info.data.get("sha256") != search.info.data.get("sha256"):
            raise InputError(
                f"{first.location} and {search.location} cannot be compared: with the same seed {search.seed} their "
                "images or their validation split differ (sha256 in run.json)"
            )


def _aims(objectives: Mapping[str, str]) -> str:
    return ", ".join(f"{direction} {name}" for name, direction in objectives.items())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
