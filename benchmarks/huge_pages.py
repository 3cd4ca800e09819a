"""Measures what memory in huge pages saves in training on a CPU; writes Markdown.

    python benchmarks/huge_pages.py --output benchmarks/huge_pages.md

Each training runs in a process of its own, as Ray's workers do, with one thread: with the environment variable that
cellscout sets for the workers of a Ray that it starts, and without it, in turn. Processor time, so that other work on
the machine counts less.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import torch

from orchestrator.cluster.machine import HUGE_PAGES
from search_spaces import NASNET_A
from trainables.datasets import load_data
from trainables.loader import DeviceData
from trainables.network_spec import NetworkSpec
from trainables.settings import DataSettings, TrainingSettings
from trainables.training import Training

ROUNDS, EPOCHS = 5, 2
CASES = {
    "N = 2, F = 16, 32x32, batch 32": (2, 16, 32, 32),
    "N = 1, F = 4, 12x12, batch 64": (1, 4, 12, 64),
    "N = 1, F = 4, 8x8, batch 32": (1, 4, 8, 32),
}
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def train(case: str) -> None:
    """Train NASNet-A; print the seconds of the processor for an epoch, and the peak of the memory in MB."""
    torch.set_num_threads(1)
    repeats, filters, side, batch = CASES[case]
    splits = load_data(DataSettings(limit=400, validation_fraction=0.2, image_size=side), seed=0)
    spec = NetworkSpec(
        architecture=NASNET_A,
        repeats=repeats,
        filters=filters,
        classes=10,
        image_channels=1,
        image_size=(side, side),
    )
    settings = TrainingSettings(epochs=1 + EPOCHS, batch_size=batch)
    training = Training(spec, settings, DeviceData(splits, torch.device("cpu")), seed=0)
    training.train_epoch()
    started = time.process_time()
    for _ in range(EPOCHS):
        training.train_epoch()
    print((time.process_time() - started) / EPOCHS, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measured(case: str, environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds of an epoch and the peak of the memory in MB, in a process with these environment variables."""
    command = [sys.executable, __file__, "--train", case]
    plain = {name: value for name, value in os.environ.items() if name not in HUGE_PAGES}
    seconds, peak = subprocess.run(
        command, env={**plain, **environment}, capture_output=True, text=True, check=True
    ).stdout.split()
    return float(seconds), float(peak)


def row(case: str) -> str:
    """Measure a case and return its row of the table."""
    ratios, peaks = [], []
    for _ in range(ROUNDS):
        (plain, plain_peak), (huge, huge_peak) = measured(case, {}), measured(case, HUGE_PAGES)
        ratios.append(plain / huge)
        peaks.append(huge_peak / plain_peak)
    speed = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"| {case} | {speed} | {statistics.median(peaks):.2f} |"


def main() -> None:
    """Measure, and write Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--train", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.train)
        return
    setting = SETTING.read_text().strip() if SETTING.exists() else "none"
    lines = [
        "# Memory in huge pages\n",
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} CPUs (load {os.getloadavg()[0]:.0f}), "
        f"{' '.join(platform.libc_ver())}, torch {torch.__version__}; transparent huge pages: `{setting}`.",
        "Written by\n",
        "```",
        "python benchmarks/huge_pages.py --output benchmarks/huge_pages.md",
        "```",
        f"\nNASNet-A on digits, one thread: how many times as fast an epoch is with `GLIBC_TUNABLES="
        f"{HUGE_PAGES['GLIBC_TUNABLES']}`, by the processor's time. Median of {ROUNDS} pairs, with their range. "
        "cellscout sets it for the workers of a Ray that it starts. It changes nothing where the system gives huge "
        "pages to nobody (`never`) or to everybody (`always`).\n",
        "| network | times as fast | peak of the memory, relative |",
        "|---|---|---|",
    ]
    for case in CASES:
        lines.append(row(case))
        print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    if arguments.output:
        arguments.output.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
