"""Measures training on one GPU: steps as one CUDA graph beside eager ones and other libraries, and a shared card.

    python benchmarks/gpu.py --output benchmarks/gpu.md

Takes about six minutes on an H200. Without a GPU it runs to its end, and says what is not measured. pytorchcv and timm
are compared if they are installed. NVIDIA's MPS is started for its own rows and stopped again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import itertools
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from search_spaces import NASNET, NASNET_A, PUBLISHED, Architecture
from trainables.cuda_graph import EAGER_CALLS, DeviceStream, Replayed
from trainables.datasets import load_data
from trainables.image_arrays import ImageArrays
from trainables.loader import DeviceData, DeviceImages
from trainables.network_spec import NetworkSpec
from trainables.settings import DataSettings, TrainingSettings
from trainables.skeleton import SKELETONS
from trainables.training import Training
from trainables.training_step import autocast

IS_GPU = torch.cuda.is_available()
REPETITIONS, STEPS = (5, 5) if IS_GPU else (2, 1)
BATCH = 128
PROCESSES = (1, 2, 4, 8)
SHARED_SECONDS = 5.0
AT_A_TIME = 8
CANDIDATE_EPOCHS = 27
MPS = "nvidia-cuda-mps-control"
MISSING = "not measured"


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if IS_GPU else "cpu")


def seconds_of(step: Callable[[], object], count: int = 1) -> float:
    """Seconds that some steps take, with all that they start on the device."""
    _wait()
    started = time.perf_counter()
    for _ in range(count):
        step()
    _wait()
    return time.perf_counter() - started


def timed(step: Callable[[], object]) -> list[float]:
    """Milliseconds of a step, for each of some repetitions, after a warm-up."""
    found = [1000 * seconds_of(step, STEPS) / STEPS for _ in range(REPETITIONS + 1)]
    return found[1:]


def shown(found: list[float]) -> str:
    """Median with range."""
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def _wait() -> None:
    if IS_GPU:
        torch.cuda.synchronize()


def digits(side: int) -> DeviceData:
    """Images of scikit-learn's digits, scaled to this size, on the device."""
    return DeviceData(load_data(DataSettings(image_size=side, validation_fraction=0.2), seed=0), device())


@contextlib.contextmanager
def as_if(*, is_graph: bool, half: bool) -> Iterator[None]:
    """Trainings that are made in the context replay their steps as graphs or not, in bfloat16 or in float32."""
    with contextlib.ExitStack() as stack:
        if not is_graph:
            stack.enter_context(patch("trainables.training.MIN_STEPS", float("inf")))
        if not half:
            stack.enter_context(patch("trainables.training.half_precision", lambda device: None))
        yield


def candidate(data: DeviceData, architecture: Architecture = NASNET_A) -> Training:
    """A training of a candidate with N = 2 and F = 16."""
    height, width, channels = data.train.images.shape[1:]
    spec = NetworkSpec(
        architecture=architecture,
        repeats=2,
        filters=16,
        classes=10,
        image_channels=channels,
        image_size=(height, width),
        drop_path_probability=0.3,
    )
    return Training(spec, TrainingSettings(epochs=1000, batch_size=BATCH, crop_padding=4, flip=True), data, seed=0)


def one_step(training: Training) -> Callable[[], None]:
    """A step of the training, with its share of the epoch's work."""
    step = training._step
    training.network.train()
    schedule = step.scheduled([0.1], [0.5])
    order = torch.randperm(len(training.data.train), device=training.data.device)

    def run() -> None:
        with training._stream.entered():
            step.place(order[: step.batch_size], schedule[0])
            training._run_step()

    return run


ARMS = tuple(itertools.product((False, True), (False, True)))
"""Whether a step is in bfloat16, and whether it is a graph."""


def arm_name(half: bool, is_graph: bool) -> str:
    """What the tables call an arm."""
    return f"{'one CUDA graph' if is_graph else 'eager'}, {'bfloat16' if half else 'float32'}"


def step_rows() -> Iterator[str]:
    """Yield the table of steps of a candidate, eager and as a graph."""
    data = digits(32)
    yield f"| NASNet-A, N = 2, F = 16, 32x32, batch {BATCH} | milliseconds a step | the capture takes |"
    yield "|---|---|---|"
    for half, is_graph in ARMS:
        if not IS_GPU and (half or is_graph):
            yield f"| {arm_name(half, is_graph)} | {MISSING} | |"
            continue
        with as_if(is_graph=is_graph, half=half):
            training = candidate(data)
        run = one_step(training)
        for _ in range(EAGER_CALLS):
            run()
        first = seconds_of(run)
        found = timed(run)
        capture = f"{first - statistics.median(found) / 1000:.2f} s" if is_graph else ""
        failure = f" ({training.capture_failure})" if training.capture_failure else ""
        yield f"| {arm_name(half, is_graph)} | {shown(found)}{failure} | {capture} |"


@dataclass(frozen=True)
class Rival:
    """The same network in another library and here; the weights are random."""

    name: str
    package: str
    build: Callable[[], Any]
    architecture: str
    skeleton: str
    repeats: int
    filters: int
    batch: int

    @property
    def spec(self) -> NetworkSpec:
        """The network here, for images of 224x224 pixels in 1,000 classes."""
        return NetworkSpec(
            architecture=PUBLISHED[self.architecture].architecture,
            skeleton=SKELETONS[self.skeleton],
            repeats=self.repeats,
            filters=self.filters,
            classes=1000,
            image_channels=3,
            image_size=(224, 224),
        )


def _nasnet() -> Any:
    from pytorchcv.models.nasnet import nasnet_4a1056

    return nasnet_4a1056()


def _pnasnet() -> Any:
    import timm

    return timm.create_model("pnasnet5large")


RIVALS = (
    Rival("nasnet_4a1056", "pytorchcv", _nasnet, "nasnet_a", "nasnet_mobile", 4, 44, 32),
    Rival("pnasnet5large", "timm", _pnasnet, "pnasnet_5", "pnasnet_large", 4, 216, 16),
)


def our_step(rival: Rival, images: DeviceImages) -> Callable[[], None]:
    """A step of our network on these images."""
    settings = TrainingSettings(epochs=1000, batch_size=rival.batch)
    data = DeviceData.__new__(DeviceData)
    data.device, data.train, data.validation = device(), images, images
    return one_step(Training(rival.spec, settings, data, seed=0))


def their_step(rival: Rival, images: DeviceImages, *, half: bool, is_graph: bool) -> Callable[[], None]:
    """A step of the rival's network on the same images, with the same loss, optimiser and memory layout."""
    network = rival.build().to(device()).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True)
    indices = torch.arange(rival.batch, device=device())
    stream = DeviceStream(device())

    def step() -> None:
        batch, labels = images.at(indices)
        optimizer.zero_grad(set_to_none=True)
        with autocast(device(), torch.bfloat16 if half else None):
            loss = F.cross_entropy(network(batch), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0, foreach=True)
        optimizer.step()

    replayed = Replayed(step, stream, enabled=is_graph)

    def run() -> None:
        with stream.entered():
            replayed()

    return run


def rival_rows() -> Iterator[str]:
    """Yield the table of the same networks here and in other libraries."""
    yield "| network, 224x224 | arm | cellscout, ms a step | the other library | ratio |"
    yield "|---|---|---|---|---|"
    for rival in RIVALS:
        label = f"{rival.package}'s {rival.name}, batch {rival.batch}"
        if not IS_GPU or importlib.util.find_spec(rival.package) is None:
            yield f"| {label} | | {MISSING} | {MISSING} | |"
            continue
        pixels = np.random.default_rng(0).integers(0, 256, (rival.batch, 224, 224, 3), np.uint8)
        arrays = ImageArrays(pixels, np.arange(rival.batch) % 1000)
        images = DeviceImages(arrays, mean=(127.0,) * 3, deviation=(60.0,) * 3, device=device())
        for half, is_graph in ARMS:
            with as_if(is_graph=is_graph, half=half):
                ours = timed(our_step(rival, images))
            torch.cuda.empty_cache()
            theirs = timed(their_step(rival, images, half=half, is_graph=is_graph))
            torch.cuda.empty_cache()
            ratio = statistics.median(theirs) / statistics.median(ours)
            yield f"| {label} | {arm_name(half, is_graph)} | {shown(ours)} | {shown(theirs)} | {ratio:.2f} |"


def work(seed: int) -> None:
    """Train a candidate for some seconds whenever a line comes, and print how many images a second it trained."""
    torch.set_num_threads(1)  # as in a search
    data = digits(32)
    training = candidate(data, NASNET.sample(np.random.default_rng(seed)))
    training.train_epoch()
    print("ready", flush=True)
    for _ in sys.stdin:
        started, epochs = time.perf_counter(), 0
        while time.perf_counter() - started < SHARED_SECONDS:
            training.train_epoch()
            epochs += 1
        print(epochs * len(data.train) / (time.perf_counter() - started), flush=True)


def together(environment: Mapping[str, str]) -> list[float]:
    """Images a second of all processes together, for each number of processes that train on the card at once."""
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, "--work", str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        for seed in range(max(PROCESSES))
    ]
    try:
        for worker in workers:
            if _answer(worker) != "ready":
                raise RuntimeError("a process of the shared card ended too early")
        totals = []
        for count in PROCESSES:
            for worker in workers[:count]:
                assert worker.stdin is not None
                worker.stdin.write("\n")
                worker.stdin.flush()
            totals.append(sum(float(_answer(worker)) for worker in workers[:count]))
        return totals
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _answer(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


@contextlib.contextmanager
def mps() -> Iterator[dict[str, str]]:
    """NVIDIA's MPS as a daemon of its own; yields the environment of its clients."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"CUDA_MPS_PIPE_DIRECTORY": f"{folder}/pipe", "CUDA_MPS_LOG_DIRECTORY": f"{folder}/log"}
        subprocess.run([MPS, "-d"], env={**os.environ, **environment}, check=True)
        try:
            yield environment
        finally:
            subprocess.run([MPS], input="quit\n", text=True, env={**os.environ, **environment}, check=False)


def shared_rows() -> Iterator[str]:
    """Yield the table of candidates an hour of one card that several processes share."""
    images = CANDIDATE_EPOCHS * len(digits(32).train)
    yield f"| processes that train | candidates an hour (of {images:,} images) | with MPS |"
    yield "|---|---|---|"
    plain, with_mps = [MISSING] * len(PROCESSES), [MISSING] * len(PROCESSES)
    if IS_GPU:
        plain = [f"{3600 * total / images:,.0f}" for total in together({})]
        if shutil.which(MPS) is not None:
            with mps() as environment:
                with_mps = [f"{3600 * total / images:,.0f}" for total in together(environment)]
    for row in zip(PROCESSES, plain, with_mps, strict=True):
        yield f"| {row[0]} | {row[1]} | {row[2]} |"


def search_rows() -> Iterator[str]:
    """Yield the lines about a short search whose trials share the card."""
    if not IS_GPU:
        yield f"A search on the card: {MISSING}."
        return
    from orchestrator.config import parse_config
    from orchestrator.search import run_search

    config = parse_config(
        {
            "network": {"repeats": 2, "filters": 16},
            "data": {"name": "digits", "image_size": 32},
            "training": {"epochs": 9, "batch_size": BATCH},
            "resources": {"gpus_per_trial": 1 / AT_A_TIME},
            "budget": {"trials": 24},
        },
        "the benchmark",
    )
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=250"]
    with tempfile.TemporaryDirectory() as folder, Path(folder, "busy").open("w+") as busy:
        watching = subprocess.Popen(query, stdout=busy)
        started = time.perf_counter()
        try:
            result = run_search(config, run_dir=Path(folder) / "run")
        finally:
            watching.terminate()
        seconds = time.perf_counter() - started
        busy.seek(0)
        shares = [float(line) for line in busy.read().split()]
    searched = f"{len(result.state.trials)} trials on 32x32 images, {AT_A_TIME} on the card at a time"
    yield (
        f"A search of {searched}, took {seconds:.0f} s with Ray's start and the confirmation of the winner. nvidia-smi "
        f"called the card busy for {statistics.mean(shares):.0f} % of that time."
    )


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "A step of a candidate": step_rows,
    "The same networks in other libraries": rival_rows,
    "One card for several candidates": shared_rows,
    "A search": search_rows,
}


def main() -> None:
    """Measure, and write Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="the Markdown file to write; without it, the terminal only")
    parser.add_argument("--work", type=int, metavar="SEED", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        work(arguments.work)
        return
    card = torch.cuda.get_device_name() if IS_GPU else "no GPU"
    lines = [
        "# Training on a GPU\n",
        f"{datetime.now(UTC):%Y-%m-%d}, {card}, {os.cpu_count()} CPUs, Python {platform.python_version()}, "
        f"torch {torch.__version__}. Written by\n",
        "```",
        "python benchmarks/gpu.py --output benchmarks/gpu.md",
        "```",
        f"\nMedians of {REPETITIONS} repetitions of {STEPS} steps, with their range.\n",
    ]
    for title, rows in PARTS.items():
        started = time.perf_counter()
        lines += [f"## {title}\n"]
        for row in rows():
            print(row, file=sys.stderr, flush=True)
            lines.append(row)
        print(f"{title}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        lines.append("")
        if arguments.output:
            arguments.output.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
