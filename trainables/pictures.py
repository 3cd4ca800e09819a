"""Reads pictures with Pillow: upright, of at most 8 bits per channel, within a limit of pixels. No torch.

Knows files and pixels; does not know what the pictures are for.
"""

from __future__ import annotations

import contextlib
import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainables.file_kind import FileKind
from trainables.settings import printable

if TYPE_CHECKING:
    from PIL import Image

PICTURES = FileKind(
    "picture",
    "image",
    frozenset(
        f".{suffix}"
        for suffix in (
            *("apng", "avif", "bmp", "dib", "gif", "jfif", "jp2", "jpe", "jpeg", "jpg"),
            *("pbm", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
        )
    ),
    ".png or .jpg",
)

IMAGE_FORMAT = "uint8 (0..255) of shape [height, width(, channels)]"

_DEEP_RAW_MODE = re.compile(r";16[BLNS]")
"""Pillow's raw modes of 16 bits per channel. `BGR;16` has 16 bits per pixel and does not match."""


class PictureError(ValueError):
    """A picture cannot be read or does not fit the network; the message names the file."""


class TooManyPixelsError(PictureError):
    """A picture is larger than the limit."""


def read_picture(path: Path | str, mode: str | None, *, max_pixels: int) -> tuple[Image.Image, str]:
    """Read a picture and turn it upright as its Exif orientation says.

    Args:
        path: the file.
        mode: Pillow's mode to convert the picture to; None: keep its mode.
        max_pixels: maximum number of pixels; larger pictures are refused before they are decoded.

    Returns:
        The picture, and the mode that it had in the file.

    Raises:
        PictureError: the file does not exist, cannot be decoded, is too large, or has more than 8 bits per channel.
    """
    from PIL import Image, UnidentifiedImageError

    name = printable(path)
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise PictureError(f"{name} cannot be read as a picture: it is not a file")
        with _pillow_unlimited(), Image.open(path) as picture:
            if picture.width * picture.height > max_pixels:
                raise TooManyPixelsError(
                    f"{name} has {picture.width}x{picture.height} = {picture.width * picture.height} pixels; at most "
                    f"{max_pixels} are read"
                )
            found = picture.mode
            try:
                check_bit_depth(picture)
            except ValueError as error:
                raise PictureError(f"{name}: {error}") from error
            picture.load()
            return _upright(picture).convert(mode or found), found
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureError(f"{name}: there is no such file") from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{name} cannot be read as a picture") from error
    except Exception as error:  # Pillow's decoders raise exceptions of any class on a malformed file
        raise PictureError(f"{name} cannot be read as a picture: {_reason(error)}") from error


def to_pixels(image: Any) -> NDArray[np.uint8]:
    """The pixels of a Pillow picture, an array or a tensor: [height, width(, channels)], 0..255.

    A Pillow picture is turned upright as its Exif orientation says.

    Raises:
        ValueError: the image has another type or shape.
    """
    from PIL import Image

    if isinstance(image, Image.Image):
        check_bit_depth(image)
        image = _upright(image)
        image = image.convert({"1": "L", "P": "RGB", "PA": "RGBA"}.get(image.mode, image.mode))
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or has_channels_first(pixels.shape):
        raise ValueError(f"an image is {pixels.dtype} of shape {list(pixels.shape)}; it must be {IMAGE_FORMAT}")
    return pixels


def check_bit_depth(picture: Image.Image) -> None:
    """Refuse pictures of more than 8 bits per channel, which Pillow clips or shortens without a warning.

    The mode of colour pictures does not show it. Their raw mode does, until they are decoded.

    Raises:
        ValueError: the picture has more than 8 bits per channel.
    """
    modes = [picture.mode, *(str(tile[-1]) for tile in getattr(picture, "tile", []))]
    maxima = [tile[-1][1] for tile in getattr(picture, "tile", []) if tile[0].startswith("ppm")]
    deep = any(_DEEP_RAW_MODE.search(mode) for mode in modes) or any(maximum > 255 for maximum in maxima)
    if deep or picture.mode.startswith(("I", "F")):
        raise ValueError(f"a picture has more than 8 bits per channel (mode {picture.mode}); scale it to 8 bits first")


def has_channels_first(shape: Sequence[int]) -> bool:
    """Whether the first axis of an image of this shape is probably its channels, as in torchvision's tensors."""
    return len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] > 4


def resize_image(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize pixels [height, width(, channels)] to [*size, channels], bilinearly; `size` is (height, width)."""
    from PIL import Image

    # One channel at a time, because arrays can have any number of channels, but Pillow's pictures 1, 3 or 4.
    pixels = np.atleast_3d(pixels)
    channels = [Image.fromarray(pixels[..., channel]) for channel in range(pixels.shape[-1])]
    resized = [channel.resize((size[1], size[0]), Image.Resampling.BILINEAR) for channel in channels]
    return np.stack([np.asarray(channel) for channel in resized], axis=-1)


def _upright(picture: Image.Image) -> Image.Image:
    from PIL import ImageOps

    with contextlib.suppress(Exception):  # malformed Exif does not say how to turn the picture
        return ImageOps.exif_transpose(picture)
    return picture


@contextlib.contextmanager
def _pillow_unlimited() -> Iterator[None]:
    """Lift Pillow's own limit of pixels, which no setting reaches, and silence its warnings about odd files."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), "")
    return text or type(error).__name__
