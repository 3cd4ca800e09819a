"""The settings of an export. The command line reads help texts here, so it imports no slow module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self, cast, get_args

from pydantic import Field, field_validator, model_validator

from orchestrator.config import Option, OptionSettings
from trainables.settings import did_you_mean

if TYPE_CHECKING:
    from trainables.exporting.formats import ExportFormat

Kind = Literal["weights", "channels"]

FINE_TUNE = 5
"""Epochs of training after pruning if `--fine-tune` is not given."""


@dataclass(frozen=True)
class Pruning:
    """What to prune."""

    kind: Kind
    fraction: float
    """The fraction of weights or channels in each layer that is set to zero; above 0 and below 1."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `KIND:FRACTION`; ValueError if the text has another form."""
        kind, _, number = text.partition(":")
        try:
            fraction = float(number)
        except ValueError:
            fraction = 0.0
        if kind not in get_args(Kind) or not 0 < fraction < 1:
            raise ValueError(
                f"--prune is {text!r}; it must be weights:FRACTION or channels:FRACTION with a fraction above 0 and "
                "below 1, such as weights:0.5"
            )
        return cls(cast("Kind", kind), fraction)


class ExportSettings(OptionSettings):
    """`cellscout export`: the format of the file, and what is done to the network before the export."""

    format: str = "onnx"
    """Format of the file: onnx, torch-export or executorch."""
    int8: bool = False
    """Quantise weights and activations to 8 bits, with ranges measured on 256 training images."""
    prune: str | None = None
    """Before the export, set this fraction of each layer's weights or output channels to zero, the smallest magnitudes
    first: `weights:0.5` or `channels:0.3`."""
    fine_tune: int | None = Field(default=None, ge=0)
    """Epochs of training after the pruning; only with `--prune`. Default: 5."""

    changes: Annotated[Sequence[str], Option("--set")] = ()
    """Change `data.root`, if the search's images are elsewhere now; may be repeated."""

    @field_validator("format")
    @classmethod
    def _check_format(cls, value: str) -> str:
        from trainables.exporting.formats import FORMATS  # imports numpy and PyArrow

        if value not in FORMATS:
            raise ValueError(f"--format is {value!r}; known: {', '.join(FORMATS)}{did_you_mean(value, FORMATS)}")
        return value

    @model_validator(mode="after")
    def _check_pruning(self) -> Self:
        if self.fine_tune is not None and self.prune is None:
            raise ValueError(f"--fine-tune is {self.fine_tune}, but nothing is pruned; add --prune weights:0.5")
        if self.prune is not None:
            Pruning.parse(self.prune)
        return self

    @property
    def how(self) -> ExportFormat:
        """The format's description, with its module."""
        from trainables.exporting.formats import FORMATS

        return FORMATS[self.format]

    @property
    def pruning(self) -> Pruning | None:
        """What to prune; None for nothing."""
        return None if self.prune is None else Pruning.parse(self.prune)

    @property
    def epochs(self) -> int:
        """Epochs of fine-tuning if the network is pruned."""
        return FINE_TUNE if self.fine_tune is None else self.fine_tune

    @property
    def file(self) -> str:
        """Name of the file; it replaces an earlier export of that name."""
        parts = ["model", *(["pruned"] if self.prune else []), *(["int8"] if self.int8 else [])]
        return f"{'.'.join(parts)}{self.how.suffix}"
