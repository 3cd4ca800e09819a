"""Images with masks for tests: a coloured rectangle of one of two classes on a dark background."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (12, 16)


def rectangles(count: int, size: tuple[int, int] = SIZE, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images [count, *size, 3] and masks [count, *size] of the classes 0 (background), 1 (red) and 2 (green)."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 60, (count, *size, 3), np.uint8)
    masks = np.zeros((count, *size), np.uint8)
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        top, left = (int(generator.integers(0, side // 2)) for side in size)
        place = slice(top, top + size[0] // 2), slice(left, left + size[1] // 2)
        kind = 1 + index % 2
        mask[place] = kind
        image[(*place, kind - 1)] += 180
    return images, masks


def write_mask_npz(path: Path, count: int = 40, **arrays: Any) -> Path:
    images, masks = rectangles(count)
    np.savez(path, **{"images": images, "masks": masks, **arrays})
    return path


def write_mask_folders(root: Path, count: int = 40, part: str = "") -> Path:
    """Folders of PNG pictures: `images` in RGB, `masks` with the numbers of the classes."""
    for index, (image, mask) in enumerate(zip(*rectangles(count), strict=True)):
        for kind, array in (("images", image), ("masks", mask)):
            folder = root / part / kind
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / f"{index:03}.png")
    return root
