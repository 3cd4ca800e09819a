"""How a picture becomes a network's input: a value that is stored with exported networks. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.layers import Size
from trainables.pictures import PictureError, read_picture, resize_image, to_pixels
from trainables.settings import MAX_PIXELS, printable

_GREY_MODES = ("1", "L")
"""Pillow's modes of pictures with one channel of at most 8 bits."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Size, channels and normalisation of a network's input, and its class names.

    The input of a network is (pixel - mean) / deviation.
    """

    image_size: Size
    """Height and width in pixels."""
    channels: int
    """Channels of an image."""
    mean: tuple[float, ...]
    """Mean of the training images' pixels (0..255), per channel."""
    deviation: tuple[float, ...]
    """Standard deviation of the training images' pixels (0..255), per channel."""
    classes: tuple[str, ...]
    """Class names, in the order of the logits."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Preprocessing:
        """The preprocessing of a data set, from the facts of `DataSplits.describe` in the record."""
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
        """Inverse of `to_json`. Accepts lists in place of tuples, because JSON has no tuples.

        Raises:
            ValueError: a field is missing or malformed.
        """
        try:
            height, width = value["image_size"]
            lists = {name: tuple(value[name]) for name in ("mean", "deviation", "classes")}
            return cls(**{**value, **lists, "image_size": (height, width)})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a preprocessing: {error}") from error

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Read a picture as pixels [height, width, channels], 0..255, stretched bilinearly to the network's size.

        For a network of three channels, any picture is converted to RGB. A network of one channel takes only grey
        pictures.

        Raises:
            PictureError: the file does not exist, is not a picture, has more than 100 million pixels, or has other
                channels than the network takes.
        """
        from PIL import Image

        # In its own mode if neither fits, so that the error can name it.
        loaded, mode = read_picture(path, {1: "L", 3: "RGB"}.get(self.channels), max_pixels=MAX_PIXELS)
        if len(loaded.getbands()) != self.channels or (self.channels == 1 and mode not in _GREY_MODES):
            raise PictureError(
                f"{printable(path)} has {len(Image.new(mode, (1, 1)).getbands())} channels (mode {mode}); the network "
                f"takes {self.channels}"
            )
        height, width = self.image_size
        return resize_image(to_pixels(loaded), (height, width))

    def normalised(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The network's input [n, channels, height, width] for pixels [n, height, width, channels], 0..255."""
        mean, deviation = (np.asarray(values, np.float32) for values in (self.mean, self.deviation))
        return np.ascontiguousarray(((pixels - mean) / deviation).transpose(0, 3, 1, 2), dtype=np.float32)
