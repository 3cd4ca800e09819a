"""Starts a feed for each tool that `[logging]` switches on. Knows the tools' names and what each needs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from orchestrator.cluster import environment_variables
from orchestrator.config import LoggingSettings, SearchConfig
from orchestrator.errors import ConfigError
from orchestrator.record import RunDirectory, RunInfo, RunState, Trial
from orchestrator.tracking.feed import Feed
from orchestrator.tracking.mlflow import mlflow
from orchestrator.tracking.tensorboard import tensorboard
from orchestrator.tracking.tracked_trial import LATENCY, TrackedTrial, Tracker
from orchestrator.tracking.wandb import wandb

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}
"""The package that each setting needs; the extra that installs it has the setting's name."""
LOCAL = ("tensorboard", "wandb")
"""Tools that append to files of their own, which an object store cannot do."""
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"

OpensTracker = Callable[[], AbstractContextManager[Tracker]]


def check_tracking(settings: LoggingSettings, directory: RunDirectory) -> None:
    """Check that the tools that are switched on can be used.

    Raises:
        ConfigError: a package is missing, or a tool needs a local run directory.
    """
    for name, package in PACKAGES.items():
        if not getattr(settings, name):
            continue
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:  # W&B leaves folders called `wandb`, which are not the package
            raise ConfigError(f'logging.{name} needs {package}: pip install "cellscout[{name}]"')
        if name in LOCAL and not directory.folder.is_local:
            raise ConfigError(
                f"logging.{name} appends to files, which {directory} cannot do; switch it off, or use a "
                "local folder (run.storage or --run-dir)"
            )


@contextlib.contextmanager
def tracked(
    config: SearchConfig, *, directory: RunDirectory, info: RunInfo, state: RunState, say: Callable[[str], None]
) -> Iterator[list[Feed]]:
    """Yield a listener of the event log for each tool that is switched on.

    Args:
        config, directory, info, state: of the search.
        say: shows the user one line.
    """
    settings, name = config.logging, config.run.name
    key = f"{name}-{info.started_at:%Y%m%d-%H%M%S-%f}"
    feeds: list[Feed] = []

    def feed(tool: str, *, setting: str, tracker: OpensTracker, folder_of: Callable[[str], Path | None]) -> None:
        def describe(trial: Trial) -> TrackedTrial:
            return _describe(trial, key, folder_of(trial.trial_id))

        feeds.append(Feed(tool, setting=f"logging.{setting}", tracker=tracker, state=state, describe=describe, say=say))

    path = Path(directory.folder.path)  # local if it is used: check_tracking
    if settings.tensorboard:
        events = path / "tensorboard"
        feed(
            "TensorBoard",
            setting="tensorboard",
            tracker=partial(tensorboard, events),
            folder_of=lambda trial_id: events / trial_id,
        )
    if settings.mlflow is not None:
        feed("MLflow", setting="mlflow", tracker=partial(mlflow, settings.mlflow, name, key), folder_of=lambda _: None)
    if settings.wandb is not None:
        files = path / "wandb"
        feed(
            "Weights & Biases",
            setting="wandb",
            tracker=partial(wandb, settings.wandb, project=name, group=key, folder=files),
            folder_of=lambda _: files,
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(environment_variables(_environment(settings)))
        for one in feeds:
            stack.enter_context(one)
        yield feeds


def _describe(trial: Trial, key: str, folder: Path | None) -> TrackedTrial:
    latency = {} if trial.latency_seconds is None else {LATENCY: trial.latency_seconds}
    return TrackedTrial(
        trial_id=f"{key}-{trial.trial_id}",
        name=trial.trial_id,
        config={**trial.params, **trial.costs, **latency},
        curve=tuple(trial.curve),
        folder=folder,
        status=None if trial.status == "running" else trial.status,
    )


def _environment(settings: LoggingSettings) -> dict[str, str]:
    """Settings of the tools that exist only as environment variables."""
    # MLflow retries for four minutes by default, longer than the end of a search should wait.
    return {RETRIES: os.environ.get(RETRIES, "3")} if settings.mlflow is not None else {}
