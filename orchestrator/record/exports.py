"""The record of a network's exported files: `export/exports.json` in its folder, with one entry per file."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.errors import RunDirectoryError, SearchError
from trainables.storage import Folder, reason

EXPORTED = "export"
"""The folder of the exported files, in the network's folder."""
EXPORTS = "exports.json"


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scores(_Fact):
    """Accuracy and latency of a network or its file."""

    accuracy: float
    """On the validation images, 0..1."""
    latency_seconds: dict[int, float]
    """Median for batches of 1 and 32 images, on the CPU."""


class PruningDone(_Fact):
    """What was pruned, the fraction of weights that are zero afterwards, and the epochs of fine-tuning."""

    kind: Literal["weights", "channels"]
    fraction: float
    zeros: float
    fine_tune: int


class ExportedFile(_Fact):
    """One exported file."""

    file: str
    format: str
    int8: bool
    pruning: PruningDone | None
    size: int
    """In bytes."""
    pytorch_size: int
    """Size of the weights as safetensors, in bytes."""
    images: int
    """Number of validation images for the scores."""
    saw_validation: bool
    """Whether the network was trained on the validation images."""
    largest_difference: float
    """Largest difference of a logit from the exported network in PyTorch and float32, over all images."""
    scores: Scores
    """Scores of the file."""
    pytorch: Scores
    """Scores of the exported network in PyTorch."""
    accuracy_before: float
    """Accuracy of the network as it was trained, before pruning."""
    exported_at: datetime
    host: str
    versions: dict[str, str]

    @property
    def accuracy_lost(self) -> float:
        """Loss of accuracy against the network as it was trained; negative for a gain."""
        return self.accuracy_before - self.scores.accuracy


class Exports(_Fact):
    """The contents of `exports.json`."""

    files: list[ExportedFile] = []

    @classmethod
    def read(cls, folder: Folder) -> Exports:
        """Read the record; an empty one if there is no file.

        Raises:
            RunDirectoryError: it cannot be read.
        """
        try:
            return cls.model_validate_json(folder.read(EXPORTS))
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise RunDirectoryError(f"{folder / EXPORTS} cannot be read: {reason(error)}") from error
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise RunDirectoryError(f"{folder / EXPORTS} is malformed: {problem}; remove it to export again") from error

    def with_file(self, file: ExportedFile) -> Exports:
        """Add an entry, or replace the entry of the same name."""
        others = [other for other in self.files if other.file != file.file]
        return Exports(files=sorted([*others, file], key=lambda one: one.file))

    def write(self, folder: Folder, name: str, content: bytes) -> None:
        """Write a file, then this record, which lists it.

        Raises:
            SearchError: they cannot be written.
        """
        try:
            folder.write(name, content)
            folder.write(EXPORTS, self.model_dump_json(indent=2).encode() + b"\n")
        except OSError as error:
            raise SearchError(f"{folder} cannot be written: {reason(error)}") from error
