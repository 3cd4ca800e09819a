"""The folder that holds the record of one run: where each file is, and how it is written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import RunDirectoryError
from orchestrator.event_log import read_events
from orchestrator.run_info import RunInfo
from orchestrator.run_state import RunState, Trial
from trainables.checkpoints import CheckpointFolder
from trainables.storage import Folder

FREE_BYTES_NEEDED = 64 * 2**20
"""A search does not start with less free disk space than this."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths and files of a run directory."""

    path: Path

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def info(self) -> Path:
        return self.path / "run.json"

    @property
    def best(self) -> Path:
        return self.path / "best"

    @property
    def checkpoints(self) -> CheckpointFolder:
        return CheckpointFolder(Folder.at(self.path) / "checkpoints")

    @property
    def scratch(self) -> Folder:
        return Folder.at(self.path) / "tune"

    def best_trial_id(self) -> str | None:
        """The trial that `best/` holds."""
        try:
            return json.loads((self.best / "metrics.json").read_bytes())["trial_id"]
        except FileNotFoundError:
            return None

    def check_usable(self) -> None:
        """Refuse a directory that holds a run or cannot be made. Touches nothing.

        Raises:
            RunDirectoryError: says which, and what to change.
        """
        if self.info.exists() or self.events.exists():
            raise RunDirectoryError(f"{self.path} already holds a run; choose another --run-dir")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise RunDirectoryError(f"{self.path} is not empty; choose another --run-dir")
        parent = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.exists())
        if not parent.is_dir():
            raise RunDirectoryError(f"{self.path} cannot be made: {parent} is no folder (--run-dir or run.storage)")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise RunDirectoryError(f"{self.path} cannot be made: {parent} is not writable (--run-dir or run.storage)")
        free = shutil.disk_usage(parent).free
        if free < FREE_BYTES_NEEDED:
            raise RunDirectoryError(
                f"{parent} has {free / 2**20:.1f} MiB of free disk space; "
                f"at least {FREE_BYTES_NEEDED / 2**20:.0f} MiB are needed (--run-dir or run.storage)"
            )

    def create(self, info: RunInfo) -> None:
        """Make the directory and write `run.json`; on failure take back what was made.

        Raises:
            RunDirectoryError: the directory or the file cannot be written.
        """
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_info(info)
        except OSError as error:
            for name in (self.info, _temporary(self.info)):
                name.unlink(missing_ok=True)
            for folder in made:
                if folder.exists():
                    folder.rmdir()
            raise RunDirectoryError(
                f"{self.path} cannot be written: {error.strerror} (--run-dir or run.storage)"
            ) from error

    def write_info(self, info: RunInfo) -> None:
        _write(self.info, info.model_dump_json(indent=2).encode() + b"\n")

    def read_info(self) -> RunInfo:
        """What `run.json` says.

        Raises:
            RunDirectoryError: it is missing or malformed.
        """
        try:
            return RunInfo.model_validate_json(self.info.read_bytes())
        except FileNotFoundError as error:
            raise RunDirectoryError(f"{self.path} holds no run (no run.json there)") from error
        except OSError as error:
            raise RunDirectoryError(f"{self.info} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise RunDirectoryError(f"{self.info} is malformed: {error.errors()[0]['msg']}") from error

    def read_state(self) -> RunState:
        """The run's state, from its events.

        Raises:
            RunDirectoryError: there is no run, or its log is corrupt.
        """
        info = self.read_info()
        state = RunState.replay(read_events(self.events))
        if info.standing == "died":
            state.outcome = "died"
        return state

    def write_best(self, trial: Trial, network: Mapping[str, Any], weights: bytes) -> None:
        """Replace `best/` by this trial: architecture, network, weights and metrics."""
        metrics = {
            "trial_id": trial.trial_id,
            "fingerprint": trial.fingerprint,
            "val_accuracy": trial.val_accuracy,
            "best_val_accuracy": trial.best_val_accuracy,
            "val_loss": trial.curve[-1].val_loss,
            "epochs": trial.epochs,
            "parameters": trial.parameters,
            "macs": trial.macs,
            "latency_seconds": trial.latency_seconds,
            "train_seconds": trial.train_seconds,
        }
        fresh, old = self.path / "best.new", self.path / "best.old"
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.mkdir()
        for name, value in (("architecture", trial.architecture), ("network", network), ("metrics", metrics)):
            (fresh / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n")
        (fresh / "weights.safetensors").write_bytes(weights)
        if self.best.exists():
            self.best.rename(old)
        fresh.rename(self.best)
        shutil.rmtree(old, ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


def _write(path: Path, content: bytes) -> None:
    _temporary(path).write_bytes(content)
    _temporary(path).replace(path)
