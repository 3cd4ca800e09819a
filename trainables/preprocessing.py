"""What is done to a picture before a network sees it: a value that travels with exported networks. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.datasets import check_bits, pixels_of, resize_image

_GREY = ("1", "L")
"""Pillow's modes of pictures with one channel of at most 8 bits."""


class PictureError(ValueError):
    """A picture cannot be read, or is none for this network; the message names the file."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """
    Args:
        image_size: height and width in pixels.
        channels: of the images.
        mean, deviation: of the training images' pixels (0..255), a channel; a network sees (pixel - mean) / deviation.
        classes: names, in the order of the logits.
    """

    image_size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Preprocessing:
        """From what `DataSplits.describe` says, which a run and a retraining have on record."""
        height, width, channels = facts["image_shape"]
        return cls(
            image_size=(height, width),
            channels=channels,
            mean=tuple(facts["mean"]),
            deviation=tuple(facts["deviation"]),
            classes=tuple(facts["classes"]),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessing:
        """Inverse of `to_json`, also after a way through JSON.

        Raises:
            ValueError: the value is not of that form.
        """
        try:
            height, width = value["image_size"]
            lists = {name: tuple(value[name]) for name in ("mean", "deviation", "classes")}
            return cls(**{**value, **lists, "image_size": (height, width)})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a preprocessing: {error}") from error

    def read(self, path: Path) -> NDArray[np.uint8]:
        """A picture's pixels [height, width, channels], 0..255, stretched to the network's size (bilinear).

        A network of three channels gets any picture as RGB, one of one channel only pictures without colours.

        Raises:
            PictureError: there is none, or it has other channels than the network takes.
        """
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(path) as picture:
                mode = picture.mode
                loaded = picture.convert({1: "L", 3: "RGB"}.get(self.channels, mode))
        except FileNotFoundError as error:
            raise PictureError(f"{path}: there is no such file") from error
        except (
            UnidentifiedImageError,
            OSError,
            SyntaxError,
            ValueError,
            RuntimeError,
            Image.DecompressionBombError,
        ) as error:
            raise PictureError(f"{path} cannot be read as a picture") from error
        try:
            check_bits(mode)
        except ValueError as error:
            raise PictureError(f"{path}: {error}") from error
        if len(loaded.getbands()) != self.channels or (self.channels == 1 and mode not in _GREY):
            raise PictureError(
                f"{path} has {len(Image.new(mode, (1, 1)).getbands())} channels (mode {mode}); the network takes "
                f"{self.channels}"
            )
        return resize_image(pixels_of(loaded), self.image_size)

    def normalised(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What a network sees, [n, channels, height, width], of pixels [n, height, width, channels]."""
        mean, deviation = (np.asarray(values, np.float32) for values in (self.mean, self.deviation))
        return np.ascontiguousarray(((pixels - mean) / deviation).transpose(0, 3, 1, 2), dtype=np.float32)
