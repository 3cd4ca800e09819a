"""Pictures of circles, squares and triangles on noise, drawn from a seed: data for detection.py and segmentation.py."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SIDE = 64
"""Height and width of a picture in pixels."""
KINDS = ("background", "circle", "square", "triangle")


@dataclass(frozen=True)
class Picture:
    """An image [3, height, width] in 0..1, the kind of each pixel, and box (x0, y0, x1, y1) and kind of each shape."""

    image: Tensor
    mask: Tensor
    boxes: Tensor
    kinds: Tensor


def pictures(count: int, seed: int) -> list[Picture]:
    """Draw pictures of one to four shapes; the colours are random, so only the outline shows a shape's kind."""
    generator = np.random.default_rng(seed)
    return [_picture(generator) for _ in range(count)]


def _picture(generator: np.random.Generator) -> Picture:
    background = generator.uniform(0, 1, 3)
    image = generator.normal(background, 0.1, (SIDE, SIDE, 3))
    mask = np.zeros((SIDE, SIDE), np.int64)
    boxes, kinds = [], []
    for _ in range(generator.integers(1, 5)):
        kind, side = int(generator.integers(1, len(KINDS))), int(generator.integers(14, 30))
        left, top = generator.integers(0, SIDE - side, 2)
        place = slice(top, top + side), slice(left, left + side)
        if mask[place].any():  # it would cover another shape
            continue
        outline = _outline(kind, side)
        colour = (background + generator.uniform(0.3, 0.7, 3)) % 1
        image[place][outline] = generator.normal(colour, 0.1, (int(outline.sum()), 3))
        mask[place][outline] = kind
        boxes.append((left, top, left + side, top + side))
        kinds.append(kind)
    pixels = np.clip(image, 0, 1).astype(np.float32).transpose(2, 0, 1)
    return Picture(
        torch.tensor(pixels), torch.tensor(mask), torch.tensor(boxes, dtype=torch.float32), torch.tensor(kinds)
    )


def _outline(kind: int, side: int) -> np.ndarray:
    """Return which pixels of its box a shape fills."""
    row, column = np.mgrid[:side, :side]
    if KINDS[kind] == "circle":
        return (2 * row - side + 1) ** 2 + (2 * column - side + 1) ** 2 <= side**2
    if KINDS[kind] == "triangle":
        return np.abs(2 * column - side + 1) <= row + 1
    return np.ones((side, side), bool)
