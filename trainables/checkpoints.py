"""Where trials can go on from, and the weights of those that ended: files in the run directory.

    checkpoints/00012/00009.safetensors   the state after epoch 9, as the trainable wrote it
    checkpoints/00012/00009.json          written after it: its SHA-256 and the results of all epochs so far
    checkpoints/00012/weights.safetensors the weights of a trial that had its whole budget

A checkpoint counts only if its state has the noted hash, so one that was cut off or spoilt is passed over for the one
before. Knows files; does not know what is in a state. No torch, no Ray.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import final

from trainables.epoch_result import EpochResult
from trainables.storage import Folder

KEPT = 2
"""Checkpoints of one trial that are kept: the newest, and the one before in case that is spoilt."""

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a candidate after its last epoch, and the results of all its epochs."""

    fingerprint: str
    curve: tuple[EpochResult, ...]
    state: bytes

    @property
    def epoch(self) -> int:
        return self.curve[-1].epoch


@final
@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of a run. Every method raises OSError where the storage does."""

    folder: Folder

    def write(self, trial_id: str, checkpoint: Checkpoint) -> None:
        """Keep this one and the one before."""
        trial = self._of(trial_id)
        name = f"{checkpoint.epoch:05d}"
        note = {
            "fingerprint": checkpoint.fingerprint,
            "sha256": hashlib.sha256(checkpoint.state).hexdigest(),
            "curve": [asdict(result) for result in checkpoint.curve],
        }
        trial.write(f"{name}.safetensors", checkpoint.state)
        trial.write(f"{name}.json", json.dumps(note).encode())
        for epoch in _epochs(trial)[:-KEPT]:
            for suffix in ("json", "safetensors"):
                trial.remove(f"{epoch:05d}.{suffix}")

    def newest(self, trial_id: str, fingerprint: str) -> Checkpoint | None:
        """The newest that is whole and of this candidate; None if there is none.

        Of another one it is where a record lost its last lines, and with them what that trial was.
        """
        found = self._whole(self._of(trial_id))
        return next((checkpoint for checkpoint in found if checkpoint.fingerprint == fingerprint), None)

    def write_weights(self, trial_id: str, weights: bytes, *, durable: bool = False) -> None:
        self._of(trial_id).write(WEIGHTS, weights, durable=durable)

    def weights(self, trial_id: str) -> bytes:
        """Those of a trial that had its whole budget; FileNotFoundError if they are not kept."""
        return self._of(trial_id).read(WEIGHTS)

    def drop_states(self, trial_id: str) -> None:
        """Remove what the trial could go on from; its weights stay."""
        trial = self._of(trial_id)
        for name in trial.names():
            if name != WEIGHTS:
                trial.remove(name)

    def drop(self, trial_id: str) -> None:
        """Remove all that is kept of the trial."""
        self._of(trial_id).delete()

    def trial_ids(self) -> list[str]:
        """Of the trials of which something is kept."""
        return self.folder.names()

    def _of(self, trial_id: str) -> Folder:
        if not re.fullmatch(r"\w+", trial_id):  # a record may come from anywhere, and names no path outside
            raise ValueError(f"{trial_id!r} is no trial id")
        return self.folder / trial_id

    def _whole(self, trial: Folder) -> Iterator[Checkpoint]:
        for epoch in reversed(_epochs(trial)):
            try:
                state = trial.read(f"{epoch:05d}.safetensors")
                note = json.loads(trial.read(f"{epoch:05d}.json"))
                if note["sha256"] == hashlib.sha256(state).hexdigest():
                    curve = tuple(EpochResult(**row) for row in note["curve"])
                    yield Checkpoint(note["fingerprint"], curve, state)
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                continue


@final
class CheckpointWriter:
    """Writes checkpoints in a thread of its own, one after the other, so that training need not wait for a disk."""

    def __init__(self, folder: CheckpointFolder) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None

    def write(self, trial_id: str, checkpoint: Checkpoint) -> None:
        """Begin to write it, once the one before is written; OSError if that could not be."""
        self.wait()
        self._writing = self._thread.submit(self._folder.write, trial_id, checkpoint)

    def wait(self) -> None:
        """Until all is written; OSError if it could not be."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()


def _epochs(trial: Folder) -> list[int]:
    """Of the checkpoints that were finished, whole or not."""
    return sorted(int(stem) for stem, _, suffix in (name.partition(".") for name in trial.names()) if suffix == "json")
