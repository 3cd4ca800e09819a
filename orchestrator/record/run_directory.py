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
from orchestrator.record.event_file import EVENTS
from orchestrator.record.event_segments import SEGMENTS
from orchestrator.record.run_info import RunInfo
from orchestrator.record.run_state import Trial
from trainables.checkpoints import CheckpointFolder
from trainables.storage import Folder, reason

INFO = "run.json"
BEST = "best"
NETWORK = "network.json"
METRICS = "metrics.json"

PAGE = "report.html"

EVALUATION = "evaluation"
"""The folder of an evaluation that was given no other, a run directory itself."""
EVALUATION_RESULT = "evaluation.json"
RANDOM = "random"
"""In it, the run directory of the random search of equal cost."""
RETRAINED = "retrain"
"""The folder that holds a folder a retrained network."""
RETRAIN_RESULT = "result.json"

FREE_BYTES_NEEDED = 64 * 2**20
"""A search does not start with less free disk space than this."""


@dataclass(frozen=True)
class RunDirectory:
    """The files of a run, in a local folder or on an object store. Written by one process, read by many."""

    folder: Folder

    @classmethod
    def at(cls, location: str | Path) -> RunDirectory:
        """The run directory that a path or a URI names; it need not be there.

        Raises:
            RunDirectoryError: the URI cannot be used.
        """
        try:
            return cls(Folder.at(location))
        except ValueError as error:
            raise RunDirectoryError(f"{error} (--run-dir or run.storage)") from error
        except OSError as error:
            raise RunDirectoryError(f"{location} cannot be used: {reason(error)} (--run-dir or run.storage)") from error

    def __truediv__(self, name: str) -> RunDirectory:
        return RunDirectory(self.folder / name)

    def __str__(self) -> str:
        return self.location

    @property
    def location(self) -> str:
        """As the user wrote it, a path or a URI. To be shown."""
        return self.folder.location

    @property
    def best(self) -> Folder:
        return self.folder / BEST

    @property
    def checkpoints(self) -> CheckpointFolder:
        return CheckpointFolder(self.folder / "checkpoints")

    @property
    def scratch(self) -> Folder:
        """For what Ray Tune writes while it runs; nothing is ever read from it again."""
        return self.folder / "tune"

    def best_trial_id(self) -> str | None:
        """The trial that `best/` holds."""
        try:
            return str(json.loads(self.best.read(METRICS))["trial_id"])
        except FileNotFoundError:
            return None

    def check_usable(self) -> None:
        """Refuse a place that holds a run or cannot be written. Leaves no file behind.

        Raises:
            RunDirectoryError: says which, and what to change.
        """
        path = self.folder.local_path
        if path is not None:
            self._check_path(path)
        try:
            names = self.folder.names()
        except OSError as error:
            raise self._unusable(error) from error
        if INFO in names or EVENTS in names or SEGMENTS in names:
            raise RunDirectoryError(f"{self} already holds a run; choose another --run-dir")
        if names:
            raise RunDirectoryError(f"{self} is not empty; choose another --run-dir")
        if path is not None:
            self._check_space(path)
            return
        try:  # nothing else tells whether it may be written
            self.folder.write("writable", b"")
            self.folder.delete()
        except OSError as error:
            raise self._unusable(error) from error

    def create(self, info: RunInfo) -> None:
        """Make the directory and write `run.json`; on failure take back what was made.

        Raises:
            RunDirectoryError: the directory or the file cannot be written.
        """
        path = self.folder.local_path
        made = [] if path is None else [folder for folder in (path, *path.parents) if not folder.exists()]
        try:
            self.write_info(info)
        except OSError as error:
            for folder in made:
                if folder.exists():
                    folder.rmdir()
            raise self._unusable(error) from error

    def write_info(self, info: RunInfo) -> None:
        self.folder.write(INFO, info.model_dump_json(indent=2).encode() + b"\n", durable=True)

    def read_info(self) -> RunInfo:
        """What `run.json` says.

        Raises:
            RunDirectoryError: it is missing or malformed.
        """
        try:
            return RunInfo.model_validate_json(self.folder.read(INFO))
        except FileNotFoundError as error:
            raise RunDirectoryError(f"{self} holds no run (no {INFO} there)") from error
        except OSError as error:
            raise RunDirectoryError(f"{self.folder / INFO} cannot be read: {reason(error)}") from error
        except ValidationError as error:
            raise RunDirectoryError(f"{self.folder / INFO} is malformed: {error.errors()[0]['msg']}") from error

    def write_best(self, trial: Trial, network: Mapping[str, Any], weights: bytes) -> None:
        """Replace `best/` by this trial: architecture, network, weights and metrics.

        In a local folder nobody sees half of it. On an object store it is whole when it holds `metrics.json`, which is
        taken away first and written last.
        """
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
        files = {
            "architecture.json": _json(trial.architecture),
            NETWORK: _json(network),
            "weights.safetensors": weights,
            METRICS: _json(metrics),
        }
        path = self.folder.local_path
        target = self.best if path is None else self.folder / f"{BEST}.new"
        if path is None:
            target.remove(METRICS)
        else:
            self.mend_best()
            target.delete()
        for name, content in files.items():
            target.write(name, content, durable=True)
        if path is not None:
            _put_in_place(path)

    def mend_best(self) -> None:
        """Finish a replacement of a local `best/` that was interrupted between the old one and the new one."""
        path = self.folder.local_path
        if path is not None and (path / f"{BEST}.old").exists():
            _put_in_place(path)

    def _check_path(self, path: Path) -> None:
        """Refuse what is no folder and cannot become one."""
        parent = _existing(path)
        if not parent.is_dir():
            raise RunDirectoryError(f"{self} cannot be made: {parent} is no folder (--run-dir or run.storage)")

    def _check_space(self, path: Path) -> None:
        parent = _existing(path)
        if not os.access(parent, os.W_OK | os.X_OK):
            raise RunDirectoryError(f"{self} cannot be made: {parent} is not writable (--run-dir or run.storage)")
        free = shutil.disk_usage(parent).free
        if free < FREE_BYTES_NEEDED:
            raise RunDirectoryError(
                f"{parent} has {free / 2**20:.1f} MiB of free disk space; "
                f"at least {FREE_BYTES_NEEDED / 2**20:.0f} MiB are needed (--run-dir or run.storage)"
            )

    def _unusable(self, error: OSError) -> RunDirectoryError:
        return RunDirectoryError(f"{self} cannot be written: {reason(error)} (--run-dir or run.storage)")


def _put_in_place(path: Path) -> None:
    """Make `best.new` the best; called again, it goes on where it stopped."""
    best, fresh, old = path / BEST, path / f"{BEST}.new", path / f"{BEST}.old"
    if fresh.exists():
        if best.exists():
            shutil.rmtree(old, ignore_errors=True)
            best.rename(old)
        fresh.rename(best)
    shutil.rmtree(old, ignore_errors=True)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
