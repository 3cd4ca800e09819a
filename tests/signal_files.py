"""Signals for tests: files of made-up waves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile


def waves(count: int, length: int = 24, channels: int = 1, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Signals [count, length, channels] of two classes, low and high, in little noise, and their labels."""
    generator = np.random.default_rng(seed)
    labels = np.array(["low", "high"])[np.arange(count) % 2]
    turns = np.where(labels == "low", 2, 6)[:, None] * np.linspace(0, 2 * np.pi, length)
    signals = np.sin(turns + generator.uniform(0, 6, (count, 1)))[..., None] * np.ones(channels)
    return (3 + signals + generator.normal(0, 0.1, signals.shape)).astype(np.float32), labels


def write_wav(path: Path, samples: NDArray[Any], rate: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, samples)
    return path


def write_wav_folders(root: Path, count: int = 12, lengths: tuple[int, ...] = (24,)) -> Path:
    """A folder of WAV files of 16 bits for each class of `waves`, with these lengths in turn."""
    signals, labels = waves(count, max(lengths))
    for number, (signal, label) in enumerate(zip(signals, labels, strict=True)):
        samples = (signal[: lengths[number // 2 % len(lengths)], 0] * 4000).astype(np.int16)
        write_wav(root / str(label) / f"{number}.wav", samples)
    return root
