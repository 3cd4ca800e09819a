"""Checkpoints of trials, and the weights of completed ones, as files in the run directory.

    checkpoints/00012/00009.safetensors   the state after epoch 9, as the trainable wrote it
    checkpoints/00012/00009.json          written after it: its SHA-256 and the results of all epochs so far
    checkpoints/00012/weights.safetensors the weights of a trial that had its whole budget

A checkpoint counts only if its state matches the recorded hash; if it is truncated or corrupt, the previous one is
used. Knows files; does not know what a state contains. No torch, no Ray.
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

KEPT_CHECKPOINTS = 2
"""Checkpoints kept for each trial: the newest, and the previous one in case the newest is corrupt."""

WEIGHTS = "weights.safetensors"

_TRIAL_ID = re.compile(r"\w+")


@dataclass(frozen=True)
class Checkpoint:
    """A candidate's state after its latest epoch, and the results of all its epochs so far (at least one)."""

    fingerprint: str
    curve: tuple[EpochResult, ...]
    state: bytes

    @property
    def epoch(self) -> int:
        return self.curve[-1].epoch


@final
@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of a run. Every method raises OSError if the storage fails.

    Reading and writing wait for a short outage of an object store. Removals do not, because leftovers do no harm.
    """

    folder: Folder

    def write(self, trial_id: str, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and delete all but the newest `KEPT_CHECKPOINTS`."""
        trial = self._trial_folder(trial_id)
        name = f"{checkpoint.epoch:05d}"
        note = {
            "fingerprint": checkpoint.fingerprint,
            "sha256": hashlib.sha256(checkpoint.state).hexdigest(),
            "curve": [asdict(result) for result in checkpoint.curve],
        }

        def write() -> None:
            trial.write(f"{name}.safetensors", checkpoint.state)
            trial.write(f"{name}.json", json.dumps(note).encode())
            for epoch in _epochs(trial)[:-KEPT_CHECKPOINTS]:
                for suffix in ("json", "safetensors"):
                    trial.remove(f"{epoch:05d}.{suffix}")

        trial.patiently(write)

    def newest(self, trial_id: str, fingerprint: str) -> Checkpoint | None:
        """The newest intact checkpoint of the candidate with this fingerprint; None if there is none.

        A trial's checkpoints can belong to another candidate: a record that lost its last lines assigns the trial id
        again.
        """
        trial = self._trial_folder(trial_id)

        def find() -> Checkpoint | None:
            found = self._intact(trial)
            return next((checkpoint for checkpoint in found if checkpoint.fingerprint == fingerprint), None)

        return trial.patiently(find)

    def write_weights(self, trial_id: str, weights: bytes, *, durable: bool = False) -> None:
        """Write the final weights; `durable` as for `Folder.write`."""
        trial = self._trial_folder(trial_id)
        trial.patiently(lambda: trial.write(WEIGHTS, weights, durable=durable))

    def weights(self, trial_id: str) -> bytes:
        """The weights of a trial that had its whole budget; FileNotFoundError if they are not kept."""
        trial = self._trial_folder(trial_id)
        return trial.patiently(lambda: trial.read(WEIGHTS))

    def drop_states(self, trial_id: str) -> None:
        """Delete the trial's checkpoints but not its weights."""
        trial = self._trial_folder(trial_id)
        for name in trial.names():
            if name != WEIGHTS:
                trial.remove(name)

    def drop(self, trial_id: str) -> None:
        """Delete the trial's checkpoints and weights."""
        self._trial_folder(trial_id).delete()

    def trial_ids(self) -> list[str]:
        """The trials that have a checkpoint or weights."""
        return [name for name in self.folder.folders() if _TRIAL_ID.fullmatch(name)]

    def _trial_folder(self, trial_id: str) -> Folder:
        if not _TRIAL_ID.fullmatch(trial_id):  # a record can be foreign; it must not name a path outside the folder
            raise ValueError(f"{trial_id!r} is not a trial id; it may have letters, digits and _ only")
        return self.folder / trial_id

    def _intact(self, trial: Folder) -> Iterator[Checkpoint]:
        """The checkpoints whose state matches its hash, newest first."""
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
    """Writes checkpoints one at a time in a background thread, so that training does not wait for the storage."""

    def __init__(self, folder: CheckpointFolder) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._writing: Future[None] | None = None

    def write(self, trial_id: str, checkpoint: Checkpoint) -> None:
        """Wait for the previous write, then start this one; OSError if the previous one failed."""
        self.wait()
        self._writing = self._thread.submit(self._folder.write, trial_id, checkpoint)

    def wait(self) -> None:
        """Wait until everything is written; OSError if the write failed."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()


def _epochs(trial: Folder) -> list[int]:
    """Epochs of the checkpoints whose JSON file exists, in ascending order; their states may be corrupt."""
    return sorted(int(stem) for stem, _, suffix in (name.partition(".") for name in trial.names()) if suffix == "json")
