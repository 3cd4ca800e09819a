"""Objects that a caller passes in Python: what the record says of them, and whether a resume has the same ones."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler

from orchestrator.config import SearchConfig, kind_of
from orchestrator.errors import ConfigError, check_class
from orchestrator.record import PassedObject, RecordedRun, first_difference
from search_spaces import CellSpace
from trainables import EpochTrainable

SET_BY_RAY = ("metric", "mode")
"""Parameters of Ray Tune's schedulers that it sets itself when a run begins."""


@dataclass(frozen=True)
class PassedParts:
    """Instances (for `trainable` a class) that a caller passes in Python instead of those that the settings name."""

    space: CellSpace | None = None
    sampler: BaseSampler | None = None
    scheduler: TrialScheduler | None = None
    trainable: type[EpochTrainable] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no part of a search.

        Raises:
            ConfigError: an object has another type.
        """
        for part, kind in (("space", CellSpace), ("sampler", BaseSampler), ("scheduler", TrialScheduler)):
            check_class(part, getattr(self, part), kind)
        trainable = self.trainable
        if trainable is not None and not (inspect.isclass(trainable) and issubclass(trainable, EpochTrainable)):
            raise ConfigError(f"trainable is {trainable!r}; a subclass of EpochTrainable is needed (trainable=...)")

    def describe(self) -> dict[str, PassedObject]:
        """Describe the objects for the record, by their sections in a search file."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {part: _describe(value) for part, value in parts.items() if value is not None}

    def named_in(self, config: SearchConfig) -> SearchConfig:
        """Return the settings with the name of each passed object in its section.

        The section's options and blocks are reset to their defaults, because they belong to the part that is replaced.
        """
        sections = {}
        for part, passed in self.describe().items():
            section = getattr(config, part)
            unset = {
                name: type(section)().model_dump()[name] for name in ("options", "blocks") if hasattr(section, name)
            }
            sections[part] = section.model_copy(update={"name": passed.plugin_name, **unset})
        return config.model_copy(update=sections)

    def check_resume(self, run: RecordedRun, config: SearchConfig) -> None:
        """Refuse to resume a search with other objects than those that were passed when it began.

        The settings may name a sampler to replace one that was passed.

        Args:
            run: the record.
            config: the settings for the resume.

        Raises:
            ConfigError: as for `check_same`, or the settings change a sampler that is passed.
        """
        before = run.config.sampler
        if self.sampler is not None and (config.sampler.name, config.sampler.options) != (before.name, before.options):
            raise ConfigError(
                f"the changes set sampler.name or sampler.options, and {self.describe()['sampler']} is passed as the "
                "sampler; leave out one of the two (sampler=...)"
            )
        replaced = config.sampler.name != before.name
        self.check_same(run, ("space", *(() if replaced else ("sampler",)), "scheduler", "trainable"))

    def check_same(self, run: RecordedRun, parts: Collection[str]) -> None:
        """Refuse to go on with other objects than those that were passed when the run began.

        Args:
            run: the record.
            parts: the sections whose objects are needed.

        Raises:
            ConfigError: one is missing, differs, or replaces one that the settings name.
        """
        given = self.describe()
        for part in parts:
            before, now = run.info.passed.get(part), given.get(part)
            if before is not None and now is None:
                other = ", or name another sampler (--set sampler.name=tpe)" if part == "sampler" else ""
                raise ConfigError(
                    f"{run.directory} was searched with a {part} that was passed in Python, {before}; pass the same "
                    f"one again, in Python ({part}=...){other}"
                )
            if before is None and now is not None:
                raise ConfigError(
                    f"{run.directory} was searched with the {part} {run.info.config[part]['name']!r}; {now} cannot "
                    f"replace it (leave out {part}=...)"
                )
            if before is not None and now is not None:
                difference = first_difference(before.model_dump(), now.model_dump())
                if difference is not None:
                    raise ConfigError(
                        f"the {part} {now} is not the one with which {run.directory} was searched: its {difference} "
                        f"({part}=...)"
                    )


def _describe(value: Any) -> PassedObject:
    if inspect.isclass(value):
        return PassedObject(module=_identifiers(value.__module__), name=_identifiers(value.__name__))
    kind = kind_of(value) if isinstance(value, BaseSampler) else type(value)
    options = dict(_options(value, kind))
    return PassedObject(module=_identifiers(kind.__module__), name=_identifiers(kind.__name__), options=options)


def _identifiers(name: str) -> str:
    """The name as it may stand in a search file; a notebook's or a script's module may have another form."""
    return re.sub(r"[^\w.]|(?<![^.])(?=\d)", "_", name)


def _options(value: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """The parameters of the class that the object keeps under their names, if JSON can hold them."""
    for name in inspect.signature(kind).parameters:
        for attribute in (name, f"_{name}"):
            if name not in SET_BY_RAY and hasattr(value, attribute):
                found = _plain(getattr(value, attribute))
                if found is not None:
                    yield name, found
                break


def _plain(value: Any) -> Any:
    """The value as JSON has it; None if it has none. A space is called by its name: the record has the search's own."""
    if isinstance(value, CellSpace):
        return value.name
    if dataclasses.is_dataclass(value) and not inspect.isclass(value):
        return repr(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | int | float | str) else None
