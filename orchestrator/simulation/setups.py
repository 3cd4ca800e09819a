"""The kinds of searches that are compared: samplers and schedulers with their settings, as the command line names them.

Knows names and settings. Does not know curves, workers and seeds.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler

from orchestrator.config import (
    check_fits,
    make_sampler,
    make_scheduler,
    parse_config,
)
from orchestrator.errors import ConfigError
from orchestrator.objectives import Direction
from orchestrator.study import to_distributions
from search_spaces import CellSpace

OBJECTIVES: dict[str, Direction] = {"val_accuracy": "maximize"}

Section = Literal["sampler", "scheduler"]

FIELDS: dict[Section, tuple[str, ...]] = {"sampler": (), "scheduler": ("min_epochs", "reduction_factor")}
"""The keys of each section that are not `options`."""


@dataclass(frozen=True)
class Choice:
    """A sampler or a scheduler with some of its settings."""

    section: Section
    name: str
    settings: tuple[tuple[str, str], ...] = ()
    """Pairs of a key and its value as JSON."""

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.settings)])

    @property
    def values(self) -> dict[str, Any]:
        """The section of a search file."""
        settings = {key: json.loads(value) for key, value in self.settings}
        own = {key: value for key, value in settings.items() if key in FIELDS[self.section]}
        options = {key: value for key, value in settings.items() if key not in own}
        return {"name": self.name, **own, "options": options}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A sampler and a scheduler."""

    sampler: Choice
    scheduler: Choice

    def __str__(self) -> str:
        return f"{self.sampler} with {self.scheduler}"

    def make(self, *, seed: int, space: CellSpace, epochs: int) -> tuple[BaseSampler, TrialScheduler]:
        """Make both for one search.

        Raises:
            ConfigError: a name is unknown, a setting is out of its bounds, or the sampler does not fit the space.
        """
        values = {"sampler": self.sampler.values, "scheduler": self.scheduler.values, "training": {"epochs": epochs}}
        config = parse_config(values, str(self))
        made = make_sampler(config.sampler, seed, space)
        check_fits(made, to_distributions(space.param_space()), OBJECTIVES)
        return made, make_scheduler(config.scheduler, epochs, OBJECTIVES)


REFERENCE = Setup(sampler=Choice("sampler", "random"), scheduler=Choice("scheduler", "fifo"))
"""Random search without stopping, to which all others are compared."""


def combine(samplers: Sequence[str], schedulers: Sequence[str]) -> list[Setup]:
    """Return each sampler with each scheduler, and the reference first.

    Args:
        samplers, schedulers: names, each with settings after it, such as `asha min_epochs=1,3`; with several values of
            a setting, each is a choice of its own.

    Raises:
        ConfigError: a text is not of this form.
    """
    kinds = (_all_choices("scheduler", schedulers), _all_choices("sampler", samplers))
    found = [Setup(sampler=sampler, scheduler=scheduler) for scheduler, sampler in itertools.product(*kinds)]
    unique = {str(setup): setup for setup in [REFERENCE, *found]}
    return list(unique.values())


def _all_choices(section: Section, texts: Sequence[str]) -> list[Choice]:
    return [choice for text in texts for choice in _choices(section, text)]


def _choices(section: Section, text: str) -> Iterator[Choice]:
    name, *words = text.split()
    values = dict(_values(section, text, word) for word in words)
    for chosen in itertools.product(*values.values()):
        yield Choice(section, name, tuple(zip(values, chosen, strict=True)))


def _values(section: Section, text: str, word: str) -> tuple[str, list[str]]:
    """Return the key of `KEY=VALUE,...`, and its values as JSON. They are read as TOML, or else as words."""
    key, separator, values = word.partition("=")
    if not separator or not key or not values:
        raise ConfigError(f"--{section} {text!r}: {word!r} is not of the form KEY=VALUE,...")
    try:
        found = tomllib.loads(f"values = [{values}]")["values"]
    except tomllib.TOMLDecodeError:
        found = values.split(",")
    return key, [json.dumps(value, default=str) for value in found]
