"""How a file of an example becomes a network's input: a value that is stored with exported networks. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.layers import Size
from trainables.reading import AS_PICTURE, Reading, reading_facts
from trainables.tasks.table import reading_of
from trainables.tasks.task import Outputs


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Size, channels and normalisation of a network's input, and its class names.

    The input of a network is (pixel - mean) / deviation, or the tokens of a text.
    """

    image_size: Size
    """Height and width in pixels, or the length of a signal in samples or of a text in tokens."""
    channels: int
    """Channels of an image or a signal; 1 for a text."""
    mean: tuple[float, ...]
    """Mean of the training images' pixels (0..255), or of the signals' samples, per channel; empty for tokens."""
    deviation: tuple[float, ...]
    """Standard deviation of the same, per channel."""
    classes: tuple[str, ...]
    """Names of the classes, or of the numbers to predict, in the order of the outputs."""
    reading: Reading = AS_PICTURE
    """How a file becomes an image or a signal."""
    outputs: Outputs = "classes"
    """What the network's outputs are."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Preprocessing:
        """The preprocessing of a data set, from the facts of `DataSplits.describe` in the record."""
        *size, channels = facts["image_shape"]
        return cls(
            image_size=tuple(size),
            channels=channels,
            mean=tuple(facts["mean"]),
            deviation=tuple(facts["deviation"]),
            classes=tuple(facts["classes"]),
            reading=reading_of(facts.get("reading")),
            outputs=facts.get("outputs", "classes"),
        )

    def to_json(self) -> dict[str, Any]:
        value = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "reading"}
        return {**value, **reading_facts(self.reading)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessing:
        """Inverse of `to_json`. Accepts lists in place of tuples, because JSON has no tuples.

        Raises:
            ValueError: a field is missing or malformed.
        """
        try:
            lists = {name: tuple(value[name]) for name in ("image_size", "mean", "deviation", "classes")}
            if len(lists["image_size"]) not in (1, 2):
                raise ValueError(f"not a preprocessing: image_size is {value['image_size']}")
            return cls(**{**value, **lists, "reading": reading_of(value.get("reading"))})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a preprocessing: {error}") from error

    def read(self, path: Path) -> NDArray[Any]:
        """Read a file as an array [*size, channels]; see `Reading.read`."""
        return self.reading.read(path, size=self.image_size, channels=self.channels)

    def normalised(self, examples: NDArray[Any]) -> NDArray[Any]:
        """The network's input for examples [n, *size, channels].

        It is float32 [n, channels, *size], made of pixels 0..255 or samples, or int64 [n, length] of tokens.
        """
        if not self.mean:
            return np.ascontiguousarray(examples[..., 0], np.int64)
        mean, deviation = (np.asarray(values, np.float32) for values in (self.mean, self.deviation))
        return np.ascontiguousarray(np.moveaxis((examples - mean) / deviation, -1, 1), dtype=np.float32)
