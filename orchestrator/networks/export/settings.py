"""What an export is asked for, checked. Touches nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self, cast, get_args

from orchestrator.errors import ConfigError
from trainables.exporting.formats import FORMATS, ExportFormat
from trainables.settings import did_you_mean

Kind = Literal["weights", "channels"]

FINE_TUNE = 5
"""Epochs after pruning, if nothing else is said."""


@dataclass(frozen=True)
class Pruning:
    """`kind` of what is set to zero, and the fraction of it in each layer, above 0 and below 1."""

    kind: Kind
    fraction: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Raises:
            ConfigError: it is not of the form KIND:FRACTION.
        """
        kind, _, number = text.partition(":")
        try:
            fraction = float(number)
        except ValueError:
            fraction = 0.0
        if kind not in get_args(Kind) or not 0 < fraction < 1:
            raise ConfigError(
                f"--prune is {text!r}; it is weights:FRACTION or channels:FRACTION with a fraction above 0 and below "
                "1, such as weights:0.5"
            )
        return cls(cast("Kind", kind), fraction)


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """
    Args:
        format: a name in `FORMATS`.
        int8: whether weights and activations are quantised to 8 bits.
        prune: None, or as `Pruning.parse` takes it.
        fine_tune: epochs of training after the pruning, at least 0; None: 5 where there is pruning.

    Raises:
        ConfigError: a value is none of those.
    """

    format: str
    int8: bool = False
    prune: str | None = None
    fine_tune: int | None = None

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            known = ", ".join(FORMATS)
            raise ConfigError(f"--format is {self.format!r}; known: {known}{did_you_mean(self.format, FORMATS)}")
        if self.fine_tune is not None and self.fine_tune < 0:
            raise ConfigError(f"--fine-tune is {self.fine_tune}; it must be at least 0 epochs")
        if self.fine_tune is not None and self.prune is None:
            raise ConfigError(f"--fine-tune is {self.fine_tune}, but nothing is pruned; add --prune weights:0.5")
        if self.prune is not None:
            Pruning.parse(self.prune)

    @property
    def how(self) -> ExportFormat:
        return FORMATS[self.format]

    @property
    def pruning(self) -> Pruning | None:
        return None if self.prune is None else Pruning.parse(self.prune)

    @property
    def epochs(self) -> int:
        """Of fine-tuning, where there is pruning."""
        return FINE_TUNE if self.fine_tune is None else self.fine_tune

    @property
    def file(self) -> str:
        """Name of the file; another export of that name replaces it."""
        parts = ["model", *(["pruned"] if self.prune else []), *(["int8"] if self.int8 else [])]
        return f"{'.'.join(parts)}{self.how.suffix}"
