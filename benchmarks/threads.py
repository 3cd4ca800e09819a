"""Measures training with several threads on an idle and on a busy machine; writes Markdown.

    python benchmarks/threads.py --output benchmarks/threads.md

OpenMP's threads spin while they wait for each other, unless `OMP_WAIT_POLICY` is `passive`. The command `cellscout`
sets it for itself and for the workers of a Ray that it starts. Each training runs in a process of its own. The machine
is made busy by processes that only compute, as many as it has cores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import torch

from orchestrator.cluster import SLEEPING_THREADS
from search_spaces import NASNET_A
from trainables.datasets import load_data
from trainables.loader import DeviceData
from trainables.network_spec import NetworkSpec
from trainables.settings import DataSettings, TrainingSettings
from trainables.training import Training

ROUNDS, EPOCHS, IMAGES = 3, 3, 100
ARMS = {
    "one thread": (1, {}),
    "two threads that spin": (2, {}),
    "two threads that sleep": (2, SLEEPING_THREADS),
}


def train(threads: int) -> None:
    """Train NASNet-A with N = 1 and F = 16 on 32x32 images; print the seconds of an epoch, the median of some."""
    torch.set_num_threads(threads)
    splits = load_data(DataSettings(limit=IMAGES, validation_fraction=0.2, image_size=32), seed=0)
    spec = NetworkSpec(architecture=NASNET_A, repeats=1, filters=16, classes=10, image_channels=1, image_size=(32, 32))
    settings = TrainingSettings(epochs=1 + EPOCHS, batch_size=32)
    training = Training(spec, settings, DeviceData(splits, torch.device("cpu")), seed=0)
    training.train_epoch()
    print(statistics.median(training.train_epoch().seconds for _ in range(EPOCHS)))


def measured(arm: str) -> float:
    """Seconds of an epoch, in a process with the threads and the environment variables of the arm."""
    threads, environment = ARMS[arm]
    command = [sys.executable, __file__, "--train", str(threads)]
    plain = {name: value for name, value in os.environ.items() if name not in SLEEPING_THREADS}
    return float(
        subprocess.run(command, env={**plain, **environment}, capture_output=True, text=True, check=True).stdout
    )


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Run processes that only compute."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> None:
    """Measure, and write Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--train", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.train)
        return
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    lines = [
        "# Several threads on a busy machine\n",
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {cores} CPUs (load {load:.0f} at the start), torch "
        f"{torch.__version__}. Written by\n",
        "```",
        "python benchmarks/threads.py --output benchmarks/threads.md",
        "```",
        f"\nNASNet-A (N = 1, F = 16) on 32x32 images, batch 32: seconds of an epoch by the clock, median of {ROUNDS} "
        "processes with their range, the arms in turn.\n",
        "| machine | " + " | ".join(ARMS) + " |",
        "|---" * (1 + len(ARMS)) + "|",
    ]
    for name, processes in (("idle", 0), (f"{cores} processes compute beside it", cores)):
        found: dict[str, list[float]] = {arm: [] for arm in ARMS}
        with busy(processes):
            for _ in range(ROUNDS):
                for arm in ARMS:
                    found[arm].append(measured(arm))
                    print(name, arm, found[arm][-1], file=sys.stderr, flush=True)
        cells = (f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})" for times in found.values())
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    text = "\n".join(lines) + "\n"
    if arguments.output:
        arguments.output.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
