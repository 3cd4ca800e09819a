"""`run.json`: what a run was asked for, with what, and on what."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, ConfigDict

from orchestrator.config import SearchConfig
from orchestrator.record.events import now
from orchestrator.record.log_owner import is_alive

ENDED = ("completed", "exhausted", "out_of_time")
"""How a run ends that was not cut short."""


class EvaluationInfo(BaseModel):
    """What an evaluation was asked for; one with other values is another evaluation."""

    model_config = ConfigDict(frozen=True)

    candidates: dict[str, str]
    """Of the search, best first: fingerprint by trial."""
    folds: int
    seeds: int
    baseline: bool
    """Whether the best of a random search of equal cost is evaluated too."""
    trials: int
    """How many the search had trained."""


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
    command: list[str]
    host: str
    pid: int
    versions: dict[str, str]
    commit: str | None
    resources: dict[str, Any]
    data: dict[str, Any]
    evaluation: EvaluationInfo | None = None
    """Of an evaluation; None in the record of a search."""

    @property
    def standing(self) -> str:
        """`state`, or `died` where the run's process is gone without having written how it ended."""
        if self.state != "running" or not self.is_of_this_host:
            return self.state
        return self.state if is_alive(self.pid) else "died"

    @property
    def is_of_this_host(self) -> bool:
        return self.host == platform.node()

    def going_on(self, config: SearchConfig, resources: dict[str, Any]) -> RunInfo:
        """Of a run that is resumed by this process; when it began and with what versions stays as it was."""
        return self.model_copy(
            update={
                "config": config.model_dump(mode="json"),
                "state": "running",
                "ended_at": None,
                "command": sys.argv,
                "host": platform.node(),
                "pid": os.getpid(),
                "resources": resources,
                "resumed_at": [*self.resumed_at, now()],
            }
        )


def describe_run(config: SearchConfig, resources: dict[str, Any], data: dict[str, Any]) -> RunInfo:
    """What is known when a run starts.

    Args:
        config: of the run.
        resources: what each trial gets, and how many trials run at a time (`cluster.Allotment` as a dictionary).
        data: what `DataSplits.describe` says.
    """
    return RunInfo(
        config=config.model_dump(mode="json"),
        seed=config.run.seed,
        state="running",
        started_at=now(),
        command=sys.argv,
        host=platform.node(),
        pid=os.getpid(),
        versions=versions(),
        commit=commit(),
        resources=resources,
        data=data,
    )


def versions() -> dict[str, str]:
    """Of Python and of what a result may depend on."""
    packages = ("cellscout", "torch", "torchvision", "ray", "optuna", "numpy", "pyarrow")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def commit() -> str | None:
    """Of the folder in which the command was started, if it is a git checkout."""
    try:
        return subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
