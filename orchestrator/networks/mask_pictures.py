"""Writes predicted masks as pictures: the numbers of the classes with a palette, and drawn over the image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from orchestrator.errors import InputError, SearchError
from trainables.pictures import PictureError, read_picture
from trainables.settings import MAX_PIXELS, printable
from trainables.storage import Folder, reason

OPACITY = 0.6
"""Of a mask over its image."""
MASK, OVER = ".mask.png", ".over.png"
"""Endings of the files, after the name of the picture without its ending."""


def palette() -> NDArray[np.uint8]:
    """The colours of 256 classes [256, 3], those of Pascal VOC: bits of the number, spread over the channels."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((numbers >> channel) & 1) << (7 - bit)).astype(np.uint8)
        numbers = numbers >> 3
    return colours


def drawn_over(mask: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw a mask [height, width] over an image [height, width, 3] of the same size."""
    mixed = OPACITY * palette()[mask] + (1 - OPACITY) * pixels
    return mixed.round().astype(np.uint8)


def write_masks(masks: Sequence[tuple[Path, NDArray[np.uint8]]], folder: Path) -> list[Path]:
    """Write for each picture a mask in its size, and the mask drawn over it; return the files of the masks.

    A pixel of a mask is the number of its class, in the order of the network's classes.

    Raises:
        InputError: two pictures have the same name, or one cannot be read any more.
        SearchError: a file cannot be written.
    """
    names = [path.stem for path, _ in masks]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two pictures are called {printable(name)!r}; write their masks to different folders")
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = Folder.at(folder.absolute())
        for (path, mask), name in zip(masks, names, strict=True):
            picture, _ = read_picture(path, "RGB", max_pixels=MAX_PIXELS)
            resized = Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST)
            over = Image.fromarray(drawn_over(np.asarray(resized), np.asarray(picture)))
            resized.putpalette(palette().tobytes())
            place.write(f"{name}{MASK}", _png(resized))
            place.write(f"{name}{OVER}", _png(over))
            written.append(folder / f"{name}{MASK}")
    except PictureError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise SearchError(f"{folder} cannot be written: {reason(error)} (--output)") from error
    return written


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
