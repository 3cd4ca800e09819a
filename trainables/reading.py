"""How a file becomes an example: the part of a network's preprocessing that depends on the kind of data. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from trainables.file_kind import FileKind
from trainables.layers import Size
from trainables.pictures import PICTURES, PictureError, read_picture, resize_image, to_pixels
from trainables.settings import MAX_PIXELS, printable

_GREY_MODES = ("1", "L")
"""Pillow's modes of pictures with one channel of at most 8 bits."""


class Reading(Protocol):
    """A value that is recorded, and stored with exported networks."""

    @property
    def files(self) -> FileKind:
        """The files that it reads."""

    @property
    def tokens(self) -> int | None:
        """The number of different tokens; None if examples are not tokens."""

    def read(self, path: Path, *, size: Size, channels: int) -> NDArray[Any]:
        """Read a file as an array [*size, channels], as the data set holds it.

        Raises:
            ValueError: the file cannot be read, or does not fit; the message names it.
        """

    def to_json(self) -> dict[str, Any]:
        """The value as JSON; empty for pictures."""


@dataclass(frozen=True)
class PictureReading:
    """Pictures as pixels, 0..255, stretched bilinearly to the network's size.

    For a network of three channels, any picture is converted to RGB. A network of one channel takes only grey pictures.
    """

    files: ClassVar[FileKind] = PICTURES
    tokens: ClassVar[None] = None

    def read(self, path: Path, *, size: Size, channels: int) -> NDArray[np.uint8]:
        """See `Reading`. The PictureError says if a picture has more than 100 million pixels or other channels."""
        from PIL import Image

        # In its own mode if neither fits, so that the error can name it.
        loaded, mode = read_picture(path, {1: "L", 3: "RGB"}.get(channels), max_pixels=MAX_PIXELS)
        if len(loaded.getbands()) != channels or (channels == 1 and mode not in _GREY_MODES):
            raise PictureError(
                f"{printable(path)} has {len(Image.new(mode, (1, 1)).getbands())} channels (mode {mode}); the network "
                f"takes {channels}"
            )
        height, width = size
        return resize_image(to_pixels(loaded), (height, width))

    def to_json(self) -> dict[str, Any]:
        return {}


AS_PICTURE = PictureReading()


def reading_facts(reading: Reading) -> dict[str, Any]:
    """What a record or a file says of a reading, under one key; nothing of pictures."""
    value = reading.to_json()
    return {"reading": value} if value else {}
