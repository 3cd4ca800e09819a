"""The folder that holds the record of one run: where each file is, and how it is written completely or not at all.

Does not know how events are written.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import RunDirectoryError, SearchError
from orchestrator.record.event_file import EVENTS
from orchestrator.record.event_log import EventLog
from orchestrator.record.event_segments import SEGMENTS
from orchestrator.record.log_owner import OWNER, LogOwner
from orchestrator.record.run_info import RunInfo
from orchestrator.record.trial import Trial
from orchestrator.words import counted
from trainables.checkpoints import CheckpointFolder
from trainables.settings import did_you_mean_beside
from trainables.storage import Folder, reason

INFO = "run.json"
BEST = "best"
NETWORK = "network.json"
METRICS = "metrics.json"
WEIGHTS = "weights.safetensors"

PAGE = "report.html"

EVALUATION = "evaluation"
"""The default folder of an evaluation, which is itself a run directory."""
EVALUATION_RESULT = "evaluation.json"
RANDOM = "random"
"""In that folder, the run directory of the random search of equal cost."""
RETRAINED = "retrain"
"""The folder with one folder for each retrained network."""
RETRAIN_SETTINGS = "retrain.json"
RETRAIN_RESULT = "result.json"
EXAMPLES = "examples.png"
"""In a retrained network's folder, a drawing of what it finds on test images."""

FREE_BYTES_NEEDED = 64 * 2**20
"""A search does not start with less free disk space than this."""


@dataclass(frozen=True)
class RunDirectory:
    """The files of a run, in a local folder or on an object store. One process writes them, many may read them."""

    folder: Folder

    @classmethod
    def at(cls, location: str | Path) -> RunDirectory:
        """Return the run directory at a path or a URI, which need not exist.

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
        """The path or URI as the user wrote it, for display."""
        return self.folder.location

    @property
    def best(self) -> Folder:
        """The best network and its metrics."""
        return self.folder / BEST

    @property
    def checkpoints(self) -> CheckpointFolder:
        """The checkpoints of the trials."""
        return CheckpointFolder(self.folder / "checkpoints")

    @property
    def scratch(self) -> Folder:
        """The folder for Ray Tune's own files. Nothing reads them."""
        return self.folder / "tune"

    def best_metrics(self) -> dict[str, Any]:
        """Return the content of `best/metrics.json`; empty if there is none."""
        try:
            return dict(json.loads(self.folder.patiently(lambda: self.best.read(METRICS))))
        except FileNotFoundError:
            return {}

    def best_trial_id(self) -> str | None:
        """Return the id of the trial in `best/`; None if there is none."""
        return self.best_metrics().get("trial_id")

    def check_usable(self) -> None:
        """Refuse a place that holds a run, has other files or cannot be written. Leaves no file behind.

        Raises:
            RunDirectoryError: the place cannot be used; the message names the setting to change.
        """
        path = self.folder.local_path
        if path is not None:
            self._check_path(path)
        try:
            names = self.folder.names()
        except OSError as error:
            raise self._unusable(error) from error
        if names and not self._is_abandoned(names):
            problem, remedy = "is not empty", ""
            if {INFO, EVENTS, SEGMENTS} & set(names):
                problem, remedy = (
                    "already holds a run",
                    f", or continue it: cellscout resume {shlex.quote(self.location)}",
                )
            raise RunDirectoryError(f"{self} {problem}; choose another --run-dir{remedy}")
        if path is not None:
            self._check_space(path)
            return
        try:  # on an object store, only a write shows whether it is writable
            self.folder.write("writable", b"")
            self.folder.delete()
        except OSError as error:
            raise self._unusable(error) from error

    def begin(self, info: RunInfo) -> EventLog:
        """Create the record of a new run. If that fails, remove what was created.

        The log comes first: it refuses a second run here, which then has not replaced `run.json` of the first.

        Raises:
            RunDirectoryError: another run has begun here since `check_usable`, or a file cannot be written.
        """
        path = self.folder.local_path
        made = [] if path is None else [folder for folder in (path, *path.parents) if not folder.exists()]
        log: EventLog | None = None
        try:
            if path is not None:
                path.mkdir(parents=True, exist_ok=True)
            log = EventLog.create(self)
            self.create(info)
        except (OSError, RunDirectoryError) as error:
            with contextlib.suppress(OSError, SearchError):
                if log is not None:
                    log.close()
                    self.folder.remove(EVENTS)
                for folder in made:
                    if folder.exists():
                        folder.rmdir()
            if isinstance(error, RunDirectoryError):
                raise
            raise self._unusable(error) from error
        return log

    def create(self, info: RunInfo) -> None:
        """Create the directory and write `run.json`.

        Raises:
            RunDirectoryError: the directory or the file cannot be written.
        """
        try:
            self.write_info(info)
        except OSError as error:
            raise self._unusable(error) from error

    def write_info(self, info: RunInfo) -> None:
        """Write `run.json`.

        Raises:
            OSError: it cannot be written.
        """
        self.folder.write(INFO, info.model_dump_json(indent=2).encode() + b"\n", durable=True)

    def read_info(self) -> RunInfo:
        """Read `run.json`.

        Raises:
            RunDirectoryError: it is missing or malformed.
        """
        try:
            return RunInfo.model_validate_json(self.folder.read(INFO))
        except FileNotFoundError as error:
            raise RunDirectoryError(f"{self} holds no run (no {INFO} there){self._what_else()}") from error
        except OSError as error:
            raise RunDirectoryError(f"{self.folder / INFO} cannot be read: {reason(error)}") from error
        except ValidationError as error:
            raise RunDirectoryError(f"{self.folder / INFO} is malformed: {error.errors()[0]['msg']}") from error

    def write_best(
        self, trial: Trial, network: Mapping[str, Any], weights: bytes | None, how: Mapping[str, Any]
    ) -> None:
        """Replace the content of `best/` with this trial's architecture, network, weights and metrics.

        Files that were exported from the network before are deleted.

        In a local folder the replacement is atomic for readers. On an object store, `metrics.json` is deleted first and
        written last, so `best/` is complete if it has this file.

        Args:
            trial: the winner.
            network: its `NetworkSpec` as JSON.
            weights: the content of its safetensors file; None if it was not kept.
            how: the winner was chosen; added to `metrics.json`.

        Raises:
            OSError: a file cannot be written.
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
            **how,
        }
        files = {
            "architecture.json": _json(trial.architecture),
            NETWORK: _json(network),
            **({} if weights is None else {WEIGHTS: weights}),
            METRICS: _json(metrics),
        }
        self.folder.patiently(lambda: self._replace_best(files))

    def _replace_best(self, files: Mapping[str, bytes]) -> None:
        path = self.folder.local_path
        target = self.best if path is None else self.folder / f"{BEST}.new"
        if path is None:
            target.remove(METRICS)
            target.delete()
        else:
            self.repair_best()
            target.delete()
        for name, content in files.items():
            target.write(name, content, durable=True)
        if path is not None:
            _swap_best(path)

    def repair_best(self) -> None:
        """Finish an interrupted replacement of a local `best/`."""
        path = self.folder.local_path
        if path is not None and (path / f"{BEST}.old").exists():
            _swap_best(path)

    def _what_else(self) -> str:
        """What may be meant by a folder that is no run: a run or network in it, a run beside it, or a trial."""
        for file, what in ((INFO, "run"), (NETWORK, "network")):
            found = [name for name in self.folder.names() if (self.folder / name).has(file)]
            if found:
                return f"; it has {counted(len(found), what)}, such as {self.folder / found[-1]}"
        run_dir, mark, _ = self.location.rpartition("#")
        if mark and run_dir and RunDirectory.at(run_dir).folder.has(INFO):
            command = f"cellscout retrain {shlex.quote(run_dir)} --architecture {shlex.quote(self.location)}"
            return f"; RUN_DIR#TRIAL names an architecture, as in: {command}"
        path = self.folder.local_path
        if path is None or path.exists() or not path.parent.is_dir():
            return ""
        beside = [one.parent.name for one in path.parent.glob(f"*/{INFO}")]
        return did_you_mean_beside(Path(self.location), beside)

    def _is_abandoned(self, names: Sequence[str]) -> bool:
        """Whether these files are of a run whose process ended between `EventLog.create` and `create`."""
        if not {*names} <= {EVENTS, OWNER}:
            return False
        stamp, owner = self.folder.stamp(EVENTS), LogOwner.of(self.folder)
        return not (stamp and stamp[0]) and (owner is None or owner.is_gone)

    def _check_path(self, path: Path) -> None:
        """Refuse a path that is not a folder and cannot become one."""
        parent = _existing(path)
        if not parent.is_dir():
            raise RunDirectoryError(f"{self} cannot be made: {parent} is not a folder (--run-dir or run.storage)")

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


def _swap_best(path: Path) -> None:
    """Replace `best` with `best.new`. If it was interrupted, another call finishes the replacement."""
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
