"""Measures outputs, score and latency of anything that runs a network (a `Runner`). Does not know torch."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.exporting.model_file import Inputs, Runner
from trainables.tasks.score import Score

BATCH_SIZE = 64
"""Images per batch when latency is not measured."""
LATENCY_BATCH_SIZES = (1, 32)
WARM_UP_RUNS = 3
MAX_RUNS = 100
MAX_SECONDS = 5.0
"""No further run begins after this time."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Result of running a network on n images."""

    logits: NDArray[np.float32]
    """[n, outputs, ...]."""
    accuracy: float
    """The task's score on the images, 0..1."""
    latency_seconds: dict[int, float]
    """Median seconds per batch, by batch size."""


def measure(run: Runner, images: Inputs, labels: NDArray[Any], score: Score) -> Measurement:
    """Measure a network on normalised examples and their labels."""
    logits = compute_logits(run, images)
    return Measurement(
        logits=logits,
        accuracy=score.of_arrays(logits, labels),
        latency_seconds={
            size: _measure_latency(run, images[np.arange(size) % len(images)]) for size in LATENCY_BATCH_SIZES
        },
    )


def compute_logits(run: Runner, images: Inputs) -> NDArray[np.float32]:
    """Run all images in batches; return logits [n, classes]."""
    return np.concatenate([run(images[start : start + BATCH_SIZE]) for start in range(0, len(images), BATCH_SIZE)])


def _measure_latency(run: Runner, images: Inputs) -> float:
    seconds: list[float] = []
    for _ in range(WARM_UP_RUNS):
        run(images)
    begun = time.perf_counter()
    while not seconds or (len(seconds) < MAX_RUNS and time.perf_counter() - begun < MAX_SECONDS):
        started = time.perf_counter()
        run(images)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
