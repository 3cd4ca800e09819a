"""A trainable for tests of faults: made-up curves, epochs of a set duration, and a log of the epochs it trained."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from safetensors.numpy import load, save

from search_spaces import Architecture
from trainables import EpochTrainable
from trainables.epoch_result import EpochResult
from trainables.instant_trainable import made_up_limit, made_up_result

PACE = "pace"
"""File with the seconds that an epoch takes, in the nearest folder above the run directory that has one, so that one
Ray can serve many tests. Trained epochs are logged in that folder, and a file named after a fault there causes it."""

FOLDER = "PACED_FOLDER"
"""Environment variable that names that folder if the run directory is not on a local disk."""

EVALUATED = "evaluation/"
"""Prefix of an evaluation's trial ids in the log, because its random search uses the same ids."""


class PacedTrainable(EpochTrainable):
    """Appends the line `TRIAL_ID EPOCH` to the file `trained` after each epoch."""

    def prepare(self, data: Any) -> None:
        self._folder = self._notes()
        self._seconds = float((self._folder / PACE).read_text())

    def begin(self, architecture: Architecture) -> dict[str, Any]:
        self._architecture = architecture
        self._epoch = 0
        return {"device": ray.get_runtime_context().get_node_id()}  # nodes on one machine share a host name

    def train_epoch(self) -> EpochResult:
        self._fail()
        time.sleep(self._seconds)
        self._epoch += 1
        with (self._folder / "trained").open("a") as file:
            resample = self._assignment.resample
            before = EVALUATED if resample is not None and resample.split == "fold" else ""
            file.write(f"{before}{self._assignment.trial_id} {self._epoch}\n")
        return replace(made_up_result(made_up_limit(self._architecture), self._epoch), seconds=self._seconds)

    def weights(self) -> bytes:
        return save({"epoch": np.array([self._epoch])})

    def state(self) -> bytes:
        return save({"epoch": np.array([self._epoch])})

    def load_state(self, state: bytes) -> None:
        self._epoch = int(load(state)["epoch"][0])

    def _notes(self) -> Path:
        if FOLDER in os.environ:
            return Path(os.environ[FOLDER])
        assert self.plan.checkpoints is not None, "a run has a folder for checkpoints"
        return next(above for above in Path(self.plan.checkpoints.folder.path).parents if (above / PACE).exists())

    def _fail(self) -> None:
        """Cause the faults that files `fault-FAULT-LAST_DIGITS_OF_FINGERPRINTS-EPOCH` ask for, once per attempt."""
        for path in self._folder.glob("fault-*"):
            _, fault, digits, epoch = path.name.split("-")
            if self._architecture.fingerprint[-1] in digits and self._epoch + 1 == int(epoch):
                match fault:
                    case "error":
                        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
                    case "memory" if self.micro_batches == 1:
                        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
                    case "memoryalways":
                        raise MemoryError
                    case "death":
                        os._exit(1)
                    case "deathonce":
                        path.unlink(missing_ok=True)
                        os._exit(1)
                    case "hang":
                        time.sleep(3600)


def trained(folder: Path) -> list[tuple[str, int]]:
    """The trained epochs in the log, as `(trial_id, epoch)`."""
    file = folder / "trained"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(trial_id, int(epoch)) for trial_id, epoch in (line.split() for line in lines)]
