"""Data sets of a few made-up images, in the file layout of the real ones."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


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


def write_folders(root: Path, classes: dict[str, int], size: tuple[int, int] = (12, 9), suffix: str = "png") -> None:
    """A folder of pictures for each class; the red channel says which class, in the order of the dictionary."""
    kind = {"jfif": "JPEG", "jpe": "JPEG"}.get(suffix)
    for number, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            Image.new("RGB", size, (40 * number, index, 255)).save(root / name / f"{index}.{suffix}", kind)


def write_deep_png(path: Path, colour_type: int = 2) -> None:
    """A PNG of 4x4 pixels with 16 bits per channel; Pillow writes only grey ones. Type 2 is RGB."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    rows = b"".join(b"\0" + np.full((4, channels), 40_000, ">u2").tobytes() for _ in range(4))

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 4, 4, 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
