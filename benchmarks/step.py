"""Measures a training step on the CPU beside the same networks of pytorchcv and timm; writes `step.md`.

    git worktree add older d84e1ca
    python benchmarks/step.py --older older

A step is forward, loss, backward and SGD, in float32, eager, with one thread. Both networks of a comparison begin with
the same weights and see the same images; their first losses are compared. The rivals run as they come, and with their
weights and images in the memory layout channels_last, which is that of our training. Without `--older`, the step is not
compared with that of our own older commit.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from search_spaces import PUBLISHED
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec
from trainables.pretrained import convert_weights
from trainables.skeleton import SKELETONS

REPORT = Path(__file__).with_suffix(".md")
OURS = "cellscout"
SERVE = "serve-older-step"
"""The only argument in the process that runs our older commit."""
MAX_LOSS_DIFFERENCE = 1e-3


def spec(cell: str, skeleton: str, repeats: int, filters: int, classes: int, size: int) -> NetworkSpec:
    """Describe one of the published networks."""
    return NetworkSpec(
        architecture=PUBLISHED[cell].architecture,
        skeleton=SKELETONS[skeleton],
        repeats=repeats,
        filters=filters,
        classes=classes,
        image_size=(size, size),
    )


NASNET_MOBILE = spec("nasnet_a", "nasnet_mobile", 4, 44, 1000, 224)
DARTS = spec("darts_v2", "darts_imagenet", 4, 48, 1000, 224)
PNASNET_LARGE = spec("pnasnet_5", "pnasnet_large", 4, 216, 1000, 224)
SMALL = spec("nasnet_a", "nasnet_cifar", 2, 16, 10, 32)
SMALL_BATCH = 32


def from_pytorchcv(name: str) -> nn.Module:
    """Build a network of pytorchcv with random weights."""
    from pytorchcv.model_provider import get_model

    return get_model(name)


def from_timm(name: str) -> nn.Module:
    """Build a network of timm with random weights."""
    import timm

    return timm.create_model(name)


@dataclass(frozen=True)
class Comparison:
    """A network of a rival that is also one of ours."""

    rival: str
    make: Callable[[str], nn.Module]
    name: str
    spec: NetworkSpec
    batch: int
    rounds: int
    targets: tuple[float, float] | None
    """Least ratios of the rival's step to ours: as it comes, and with channels_last."""


COMPARISONS = (
    Comparison("pytorchcv", from_pytorchcv, "nasnet_4a1056", NASNET_MOBILE, 4, 7, (1.8, 1.3)),
    Comparison("pytorchcv", from_pytorchcv, "nasnet_4a1056", NASNET_MOBILE, 16, 3, (1.8, 1.3)),
    Comparison("pytorchcv", from_pytorchcv, "darts", DARTS, 4, 7, (1.6, 1.3)),
    Comparison("pytorchcv", from_pytorchcv, "darts", DARTS, 16, 3, (1.6, 1.3)),
    Comparison("timm", from_timm, "pnasnet5large", PNASNET_LARGE, 4, 3, None),
)
REMARKS = """\
Our steps gain from gradients of concatenations that are dense in memory, from 1x1 convolutions as products of
matrices, and from ReLUs that are shared. Where a target is missed, both networks spend most of their step in the same
convolutions, near the peak of a core in both, and with 4 images a batch the concatenations matter less.
"""
OLDER_TARGET = 1.3
OLDER_ROUNDS = 11


class Step:
    """Training steps of one network on one batch; a call takes a step and returns its CPU seconds.

    CPU time, because other work on the machine disturbs it less than the clock. With one thread, an idle machine takes
    the same time by the clock.
    """

    def __init__(self, network: nn.Module, batch: int, size: int, classes: int, layout: torch.memory_format) -> None:
        self.network = network.to(memory_format=layout).train()
        generator = torch.Generator().manual_seed(1)
        self.images = torch.randn(batch, 3, size, size, generator=generator).contiguous(memory_format=layout)
        self.labels = torch.randint(classes, (batch,), generator=generator)
        self.optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, fused=True)
        self.loss = 0.0

    def __call__(self) -> float:
        started = time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.network(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        seconds = time.process_time() - started
        self.loss = loss.item()
        return seconds


class OlderStep:
    """The steps of the small network with the code in another folder, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder.resolve())}
        self.process = subprocess.Popen(
            [sys.executable, __file__, SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.loss = 0.0

    def __call__(self) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, loss = map(float, self.process.stdout.readline().split())
        self.loss = loss
        return seconds

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def small_step() -> Step:
    """Steps of the network of a search."""
    torch.manual_seed(0)
    return Step(CellNetwork(SMALL), SMALL_BATCH, 32, 10, torch.channels_last)


def serve() -> None:
    """Take a step for every line of the standard input, and print its seconds and its loss."""
    step = small_step()
    for _ in sys.stdin:
        print(step(), step.loss, flush=True)


Seconds = dict[str, list[float]]
"""CPU seconds of every step, by arm."""


def in_turn(arms: Mapping[str, Step | OlderStep], rounds: int) -> Seconds:
    """Measure one step of every arm in every round, after one that is not measured."""
    for step in arms.values():
        step()
    losses = [step.loss for step in arms.values()]
    assert max(losses) - min(losses) < MAX_LOSS_DIFFERENCE * max(losses), losses
    seconds: Seconds = {name: [] for name in arms}
    for _ in range(rounds):
        for name, step in arms.items():
            seconds[name].append(step())
    return seconds


def compare(comparison: Comparison) -> Seconds:
    """Measure our network and the rival's, in both layouts."""

    def theirs() -> nn.Module:
        torch.manual_seed(0)
        with warnings.catch_warnings():  # of these libraries, at import
            warnings.simplefilter("ignore")
            network = comparison.make(comparison.name)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # the random draws of two networks differ
        return network

    ours = CellNetwork(comparison.spec)
    ours.load_state_dict(convert_weights(theirs().state_dict(), comparison.spec))

    def step(network: nn.Module, layout: torch.memory_format) -> Step:
        return Step(network, comparison.batch, 224, 1000, layout)

    arms = {
        OURS: step(ours, torch.channels_last),
        comparison.rival: step(theirs(), torch.contiguous_format),
        f"{comparison.rival}, channels_last": step(theirs(), torch.channels_last),
    }
    return in_turn(arms, comparison.rounds)


def spread(values: list[float], digits: int) -> str:
    """Format the median and the range."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def rows(network: str, seconds: Seconds, targets: tuple[float, ...]) -> list[str]:
    """Format the arms of one comparison; the first arm is ours."""
    ours, *rivals = seconds
    lines = [f"| {network} | {ours} | {spread(seconds[ours], 2)} | | |"]
    for place, name in enumerate(rivals):
        ratios = [their / our for their, our in zip(seconds[name], seconds[ours], strict=True)]
        verdict = ""
        if targets:
            verdict = f"{targets[place]}: {'reached' if median(ratios) >= targets[place] else 'missed'}"
        lines.append(f"| | {name} | {spread(seconds[name], 2)} | {spread(ratios, 2)} | {verdict} |")
    return lines


def machine() -> str:
    """Describe the machine in words."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "pytorchcv", "timm"))
    model = models[0] if models else platform.machine()
    return f"{model}, {os.cpu_count()} CPUs, shared with other work, Python {platform.python_version()}, {packages}"


def report(lines: list[str], older: Path | None) -> str:
    """Write the page around the table."""
    command = f"python benchmarks/step.py{f' --older {older.name}' if older else ''}"
    head = f"""# The time of a training step on the CPU

{datetime.now(UTC):%Y-%m-%d}, {machine()}. Written by

```
{command}
```

Forward, loss, backward and SGD in float32, eager, one thread, arms in turn: median (lowest to highest) of the CPU
seconds of a step, and of the rival's step divided by ours in the same round. Both networks have the same weights and
images; the losses of their first steps agree. The rivals run as they come, and with weights and images in
channels_last.

| network, pixels, batch | arm | seconds | times ours | target |
|---|---|---|---|---|
"""
    return head + "\n".join(lines) + "\n\n" + REMARKS


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--older", type=Path, help="a folder with our code at an older commit")
    older: Path | None = parser.parse_args().older
    lines: list[str] = []
    if older is not None:
        step = OlderStep(older)
        arms: dict[str, Any] = {OURS: small_step(), f"{OURS} at an older commit": step}
        seconds = in_turn(arms, OLDER_ROUNDS)
        step.close()
        lines += rows(f"NASNet-A, N = 2, F = 16, 32, {SMALL_BATCH}", seconds, (OLDER_TARGET,))
    for comparison in COMPARISONS:
        seconds = compare(comparison)
        lines += rows(f"{comparison.name}, 224, {comparison.batch}", seconds, comparison.targets or ())
        print("\n".join(lines), file=sys.stderr)
    REPORT.write_text(report(lines, older))


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == [SERVE]:
        serve()
    else:
        main()
