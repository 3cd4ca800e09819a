"""The record of a network's exported files: `export/exports.json` in its folder, beside them, one entry a file."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.errors import RunDirectoryError, SearchError
from trainables.storage import Folder, reason

EXPORTED = "export"
"""Of a network's folder: the folder with its files."""
EXPORTS = "exports.json"


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scores(_Fact):
    """Accuracy on the validation images, 0..1; median seconds for 1 and for 32 images at once, on the CPU."""

    accuracy: float
    latency_seconds: dict[int, float]


class PruningDone(_Fact):
    """What was pruned, the part of the weights that is zero now, and the epochs of fine-tuning."""

    kind: Literal["weights", "channels"]
    fraction: float
    zeros: float
    fine_tune: int


class ExportedFile(_Fact):
    """One file.

    `size` is in bytes, `pytorch_size` that of the weights in safetensors. `largest_difference` is that of the logits
    from those of the network that was exported, in PyTorch and float32, over all `images` validation images; `pytorch`
    are the scores of that network. `accuracy_before` is that of the network as it was trained, before any pruning.
    """

    file: str
    format: str
    int8: bool
    pruning: PruningDone | None
    size: int
    pytorch_size: int
    images: int
    saw_validation: bool
    largest_difference: float
    scores: Scores
    pytorch: Scores
    accuracy_before: float
    exported_at: datetime
    host: str
    versions: dict[str, str]

    @property
    def accuracy_lost(self) -> float:
        """Against the network as it was trained; negative if it gained."""
        return self.accuracy_before - self.scores.accuracy


class Exports(_Fact):
    """The contents of `exports.json`."""

    files: list[ExportedFile] = []

    @classmethod
    def read(cls, folder: Folder) -> Exports:
        """
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
        """With this entry, in place of one of the same name."""
        others = [other for other in self.files if other.file != file.file]
        return Exports(files=sorted([*others, file], key=lambda one: one.file))

    def write(self, folder: Folder, name: str, content: bytes) -> None:
        """Write a file, and then this record, which has it.

        Raises:
            SearchError: they cannot be written.
        """
        try:
            folder.write(name, content)
            folder.write(EXPORTS, self.model_dump_json(indent=2).encode() + b"\n")
        except OSError as error:
            raise SearchError(f"{folder} cannot be written: {reason(error)}") from error
