"""Reads one search for a comparison, and checks that two searches can be compared. Does not know groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.config import PLACES, flatten
from orchestrator.errors import InputError, RunDirectoryError
from orchestrator.record import RecordedRun, RunInfo, RunState, Trial
from orchestrator.report.comparison.best_so_far import History, read_history

INCIDENTAL = ("run", "faults", "logging")
"""Sections that may differ within a group: the run's name and seed, the handling of faults, the logging."""

FACTS = ("train", "validation", "test", "image_shape", "classes")
"""Facts about the data in `run.json` that do not depend on the seed."""

PER_TRIAL = ("cpus_per_trial", "gpus_per_trial")

Settings = dict[str, Any]
"""Values by dotted name, such as `sampler.name` or `sampler.options.initial`."""


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One search as it is compared."""

    location: str
    seed: int
    standing: str
    """`running`, `died`, or how the run ended."""
    info: RunInfo
    settings: Settings
    """The settings that affect what the search finds and how long it takes; the seed is not one of them."""
    data: Settings
    """The settings of the data, without folders."""
    state: RunState
    history: History
    by_confirmed: bool = False
    """Whether its score is the confirmed one; else it is that of its best trial in the search."""

    @property
    def metric(self) -> str:
        """The first objective."""
        return next(iter(self.state.objectives))

    @property
    def in_search(self) -> float | None:
        """The score of the best completed trial; None if no trial has completed."""
        return None if self.state.best is None else self.state.best.metric(self.metric)

    @property
    def confirmed(self) -> float | None:
        """The mean of the winner's new trainings; None without a confirmation."""
        return None if self.state.confirmed is None else self.state.confirmed.winner.scores[self.metric].mean

    @property
    def best(self) -> float | None:
        """The score by which it is compared; None if no trial has completed."""
        return self.confirmed if self.by_confirmed else self.in_search

    @property
    def best_trial(self) -> Trial | None:
        """The trial that has this score."""
        return self.state.winner if self.by_confirmed else self.state.best

    @property
    def trained(self) -> int:
        """The number of trainings that ended."""
        return int(self.history.by_trials.end)

    @property
    def epochs(self) -> int:
        """The number of trained epochs, without duplicates."""
        return sum(trial.epochs for trial in self.state.trials.values() if trial.duplicate_of is None)

    @property
    def seconds(self) -> float:
        """The duration of the search, without its confirmation and the time between an end and a resume."""
        return self.history.by_seconds.end


def read_search(location: str) -> ComparedRun:
    """Read the record of a search.

    Raises:
        RunDirectoryError: there is no run, it did not begin, it is an evaluation, or its log is corrupt.
        ConfigError: this version cannot read its configuration.
    """
    run = RecordedRun.of_search(location)
    info = run.info
    state, history = read_history(run.events())
    if not state.objectives:
        raise RunDirectoryError(f"{run.directory} holds a run that did not begin: its log is empty")
    config = run.config.model_dump(mode="json")
    data = {name: value for name, value in flatten(config.pop("data")).items() if name not in PLACES}
    # The resources that the run had: the setting "auto" does not tell two machines apart.
    config["resources"] = {**{name: info.resources.get(name) for name in PER_TRIAL}, "slots": state.slots}
    hours = config["budget"].pop("hours")
    settings = flatten({section: values for section, values in config.items() if section not in INCIDENTAL})
    for section, passed in info.passed.items():
        # Its seed differs from run to run, as `run.seed` does.
        options = {name: value for name, value in passed.options.items() if name != "seed"}
        settings |= flatten({section: {"options": options}})
    for name in [name for change in info.changes for name in change.settings if name.startswith("sampler.")]:
        settings[name] = ", then ".join(map(str, info.values_of(name)))
    if config["budget"]["trials"] is None:  # only then do the hours limit the search
        settings["budget.hours"] = hours
    return ComparedRun(
        location=run.directory.location,
        seed=info.seed,
        standing=run.standing,
        info=info,
        settings=settings,
        data=data,
        state=state,
        history=history,
    )


def check_comparable(searches: Sequence[ComparedRun]) -> None:
    """Check that the scores of all searches mean the same.

    Raises:
        InputError: two searches differ in their objectives, the bounds of their scores or their data, or have the same
            seed and other images or another split; the message names both.
    """
    first, *others = searches
    for other in others:
        pair = f"{first.location} and {other.location} cannot be compared"
        if first.state.objectives != other.state.objectives:
            aims = " in the first and ".join(_aims(search.state.objectives) for search in (first, other))
            raise InputError(f"{pair}: the objective is {aims} in the second")
        if first.info.score_bounds != other.info.score_bounds:
            bounds = " in the first and ".join(str(search.info.score_bounds) for search in (first, other))
            raise InputError(f"{pair}: the trainable's score_bounds are {bounds} in the second")
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
    """Check that runs with the same seed have the same split, because the seed determines it."""
    by_seed: dict[int, ComparedRun] = {}
    for search in searches:
        first = by_seed.setdefault(search.seed, search)
        if first.info.data.get("sha256") != search.info.data.get("sha256"):
            raise InputError(
                f"{first.location} and {search.location} cannot be compared: both have the seed {search.seed}, but "
                "their images or their validation splits differ (sha256 in run.json)"
            )


def _aims(objectives: Mapping[str, str]) -> str:
    return ", ".join(f"{direction} {name}" for name, direction in objectives.items())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
