"""Data sets of a few made-up images, in the file layout of the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def write_idx(path: Path, values: Any) -> None:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(header + values.tobytes())


def write_fashion_mnist(root: Path) -> None:
    """A few made-up images in the file layout of the real data set."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 100), ("t10k", 20)):
        write_idx(raw / f"{name}-images-idx3-ubyte", np.full((count, 28, 28), 9, np.uint8))
        write_idx(raw / f"{name}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
