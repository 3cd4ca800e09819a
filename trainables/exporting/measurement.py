"""What a network in use comes to, however it is run: how far its logits are off, accuracy, latency. No torch."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.exporting.model_file import Runner

BATCH = 64
"""Images that are run at once, where it does not matter."""
LATENCY_BATCHES = (1, 32)
WARM_UP = 3
MEASUREMENTS = 100
LONGEST_SECONDS = 5.0
"""After which no further measurement begins."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Logits [n, classes] of n images, accuracy on them (0..1), median seconds by the number of images at once."""

    logits: NDArray[np.float32]
    accuracy: float
    latency_seconds: dict[int, float]


def measure(run: Runner, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Measured:
    """`images` are normalised, [n, channels, height, width]."""
    logits = logits_of(run, images)
    return Measured(
        logits=logits,
        accuracy=float((logits.argmax(axis=1) == labels).mean()),
        latency_seconds={count: _latency(run, images[np.arange(count) % len(images)]) for count in LATENCY_BATCHES},
    )


def logits_of(run: Runner, images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])


def _latency(run: Runner, images: NDArray[np.float32]) -> float:
    seconds: list[float] = []
    for _ in range(WARM_UP):
        run(images)
    begun = time.perf_counter()
    while not seconds or (len(seconds) < MEASUREMENTS and time.perf_counter() - begun < LONGEST_SECONDS):
        started = time.perf_counter()
        run(images)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
