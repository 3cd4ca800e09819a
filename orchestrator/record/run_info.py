"""`run.json`: a run's settings, software, machine and data."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict

from orchestrator.config import SearchConfig, flatten, parse_config
from orchestrator.record.events import now
from orchestrator.record.log_owner import is_alive
from trainables.settings import printable
from trainables.tasks.table import reading_of

ENDED = ("completed", "exhausted", "out_of_time")
"""The outcomes of a run that was not cut short."""


class EvaluationInfo(BaseModel):
    """The settings of an evaluation; one with other values is another evaluation."""

    model_config = ConfigDict(frozen=True)

    candidates: dict[str, str]
    """Fingerprints by trial of the search, best first."""
    folds: int
    seeds: int
    baseline: bool
    """Whether the best candidate of a random search of equal cost is evaluated too."""
    trials: int
    """How many trials the search had trained."""


class PassedObject(BaseModel):
    """An object that was passed in Python instead of one that the settings name."""

    model_config = ConfigDict(frozen=True)

    module: str
    name: str
    """Name of the object's class, or of the object if it is a class."""
    options: dict[str, Any] = {}
    """The parameters of its class that the object stores as attributes."""

    @property
    def plugin_name(self) -> str:
        """The name in the form that a search file uses."""
        return f"{self.module}:{self.name}"

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.plugin_name}({options})" if options else self.plugin_name


class SettingsChange(BaseModel):
    """The settings that a resume changed."""

    model_config = ConfigDict(frozen=True)

    time: datetime
    settings: dict[str, tuple[Any, Any]]
    """The values before and after, by dotted name; None if it was not or is not set."""


class RunInfo(BaseModel):
    """The contents of `run.json`."""

    model_config = ConfigDict(frozen=True)

    config: dict[str, Any]
    seed: int
    state: str
    """`running`, or how it ended: an outcome of `events.RunOutcome`."""
    started_at: datetime
    ended_at: datetime | None = None
    resumed_at: list[datetime] = []
    changes: list[SettingsChange] = []
    """Of the settings, by resumes; `config` has the last values."""
    command: list[str]
    host: str
    pid: int
    versions: dict[str, str]
    commit: str | None
    resources: dict[str, Any]
    data: dict[str, Any]
    passed: dict[str, PassedObject] = {}
    """The objects that were passed in Python, by their sections in `config`. They cannot be made again from it."""
    score_bounds: tuple[float, float] | None = (0.0, 1.0)
    """The lowest and the highest possible accuracy, as the trainable states them; None if nothing bounds it."""
    evaluation: EvaluationInfo | None = None
    """None in the record of a search."""

    def bounds_of(self, metric: str) -> tuple[float, float] | None:
        """The lowest and the highest possible value of a metric; None if none are known."""
        return self.score_bounds if metric in ("train_accuracy", "val_accuracy") else None

    def component(self, section: str) -> str:
        """The space, sampler, scheduler or trainable, by its name in the settings or as the object that was passed."""
        if section in self.passed:
            return f"{self.passed[section]} (passed in Python)"
        return ", then ".join("?" if name is None else str(name) for name in self.values_of(f"{section}.name"))

    def values_of(self, setting: str) -> list[Any]:
        """The values that a setting has had, the present one last; None if it was not or is not set."""
        before = [change.settings[setting][0] for change in self.changes if setting in change.settings]
        return [*before, flatten(self.config).get(setting)]

    @property
    def examples(self) -> str:
        """What the data are called: `images` or `signals`."""
        return f"{reading_of(self.data.get('reading')).files.example}s"

    @property
    def score_name(self) -> str:
        """What the accuracies of the record are, in words: `accuracy`, or the score of another task."""
        name: str = self.data.get("score", {}).get("name", "accuracy")
        return name

    @property
    def counted_examples(self) -> int | None:
        """The number of validation examples, from which the standard error of a score follows; None if a score is not
        the share of the examples that are right."""
        is_share = self.data.get("score", {}).get("is_share", True)
        return self.data.get("validation") if is_share else None

    @property
    def guess(self) -> float | None:
        """The accuracy of always guessing the largest class of the validation images; None if it is unknown."""
        share, bounds = self.data.get("largest_class"), self.score_bounds
        return None if share is None or bounds is None else bounds[0] + share * (bounds[1] - bounds[0])

    @property
    def standing(self) -> str:
        """`state`, or `died` if the run's process has ended without recording how."""
        if self.state != "running" or not self.is_of_this_host:
            return self.state
        return self.state if is_alive(self.pid) else "died"

    @property
    def is_of_this_host(self) -> bool:
        return self.host == platform.node()

    def continuation(self, standing: str, location: str) -> str | None:
        """What continues the search: a command, or a call if objects were passed in Python, which must be passed again.

        With twice the limit that ended it, if one did. None if it is running or exhausted.
        """
        if standing in ("running", "exhausted"):
            return None
        ended_by = {"completed": "trials", "out_of_time": "hours"}.get(standing)
        limit = self.config.get("budget", {}).get(ended_by)
        change = None if limit is None else f"budget.{ended_by}={2 * limit:{'d' if isinstance(limit, int) else 'g'}}"
        if not self.passed:
            return f"cellscout resume {shlex.quote(location)}{'' if change is None else f' --set {change}'}"
        arguments = [
            repr(location),
            *([] if change is None else [repr([change])]),
            *(f"{one}=..." for one in self.passed),
        ]
        return f"in Python: cellscout.resume({', '.join(arguments)})"

    def resumed_with(
        self, config: SearchConfig, resources: dict[str, Any], passed: Mapping[str, PassedObject]
    ) -> RunInfo:
        """Info of the run once this process resumes it; its start and its versions stay."""
        time = now()
        changed = _differences(parse_config(self.config, "the recorded configuration"), config)
        return self.model_copy(
            update={
                "config": config.model_dump(mode="json"),
                "state": "running",
                "ended_at": None,
                "command": command_line(),
                "host": platform.node(),
                "pid": os.getpid(),
                "resources": resources,
                "passed": dict(passed),
                "resumed_at": [*self.resumed_at, time],
                "changes": [*self.changes, *([SettingsChange(time=time, settings=changed)] if changed else [])],
            }
        )


def describe_run(
    config: SearchConfig,
    *,
    resources: dict[str, Any],
    data: dict[str, Any],
    score_bounds: tuple[float, float] | None,
    passed: Mapping[str, PassedObject] = MappingProxyType({}),
) -> RunInfo:
    """Info of a run that starts in this process.

    Args:
        config: the run's settings.
        resources: what each trial gets, and how many trials run at a time (`cluster.Allotment` as a dictionary).
        data: the result of `DataSplits.describe`.
        score_bounds: of the trainable.
        passed: the objects that were passed in Python.
    """
    return RunInfo(
        config=config.model_dump(mode="json"),
        seed=config.run.seed,
        state="running",
        started_at=now(),
        command=command_line(),
        host=platform.node(),
        pid=os.getpid(),
        versions=versions(),
        commit=commit(),
        resources=resources,
        data=data,
        score_bounds=score_bounds,
        passed=dict(passed),
    )


def command_line() -> list[str]:
    """The command of this process, as text that can be recorded."""
    return [printable(word) for word in sys.argv]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result may depend on."""
    packages = ("cellscout", "torch", "torchvision", "ray", "optuna", "numpy", "pyarrow")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def commit() -> str | None:
    """The git commit of the current directory; None if it is not a git checkout."""
    try:
        return subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _differences(before: SearchConfig, after: SearchConfig) -> dict[str, tuple[Any, Any]]:
    """The values of the settings that differ, before and after, by dotted name."""
    old, new = (flatten(config.model_dump(mode="json")) for config in (before, after))
    return {name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)}
