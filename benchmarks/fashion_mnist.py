"""Compares a found cell with ResNet-18 and the textbooks' network on Fashion-MNIST, in equal time; prints Markdown.

    cellscout search examples/fashion_mnist.toml --set data.root=data --run-dir runs/fashion
    python benchmarks/fashion_mnist.py runs/fashion data > benchmarks/fashion_mnist.md

Each network is trained from scratch on all 60,000 training images with the search's recipe: the found cell for some
epochs, the others for as many epochs as fit into the same time. The learning rate schedule spans each network's epochs.
The cell was found on 5,000 of these images. The test images choose nothing; each training is tested on them once.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import mean, stdev

import torch

from orchestrator.record import RunDirectory, find_network
from trainables.baseline_spec import BaselineSpec
from trainables.datasets import DataSplits, load_data
from trainables.network_spec import NetworkSpec
from trainables.retraining import Retraining, RetrainingPlan, count_costs, score_on_test
from trainables.settings import DataSettings, TrainingSettings

BASELINES = ("resnet18", "two_convolutions")
PLACE = torch.device("cpu")


@dataclass(frozen=True)
class Trained:
    """Trainings of one network: test accuracies and seconds by seed."""

    spec: NetworkSpec | BaselineSpec
    epochs: int
    accuracies: list[float]
    seconds: list[float]
    latency_seconds: float


@dataclass(frozen=True)
class Course:
    """The recipe and the images that all networks share."""

    recipe: TrainingSettings
    splits: DataSplits
    few: DataSplits
    """A part of the images, to measure the speed of a network."""
    seeds: int

    def epochs_within(self, seconds: float, spec: NetworkSpec | BaselineSpec) -> int:
        """Return how many epochs fit into a time, at least one."""
        plan = RetrainingPlan(spec=spec, training=self.recipe)
        images = plan.images(self.few)
        training = Retraining(plan, images, seed=0, device=PLACE)
        training.train_epoch()  # the first epoch is slower than the others
        epoch_seconds = training.train_epoch().seconds * len(plan.images(self.splits).train) / len(images.train)
        return max(1, int(seconds / epoch_seconds))

    def train(self, spec: NetworkSpec | BaselineSpec, epochs: int) -> Trained:
        """Train a network with every seed, and test it."""
        plan = RetrainingPlan(spec=spec, training=self.recipe.model_copy(update={"epochs": epochs}))
        images = plan.images(self.splits)
        accuracies, seconds, latencies = [], [], []
        for seed in range(self.seeds):
            training, began = Retraining(plan, images, seed=seed, device=PLACE), time.perf_counter()
            while not training.is_over:
                training.train_epoch()
            seconds.append(time.perf_counter() - began)
            score = score_on_test(plan, training.weights(), images)
            accuracies.append(score.accuracy)
            latencies.append(score.latency_seconds)
            name = spec.to_json().get("baseline", "found cell")
            print(name, seed, epochs, score.accuracy, round(seconds[-1]), file=sys.stderr, flush=True)
        return Trained(spec, epochs, accuracies, seconds, min(latencies))


def row(name: str, one: Trained) -> str:
    """Format a row of the table."""
    parameters, macs = count_costs(one.spec)
    spread = f" ± {stdev(one.accuracies):.4f}" if len(one.accuracies) > 1 else ""
    return (
        f"| {name} | {parameters:,} | {macs / 1e6:.1f} M | {one.latency_seconds * 1e3:.2f} ms | {one.epochs} | "
        f"{mean(one.seconds):.0f} s | {mean(one.accuracies):.4f}{spread} |"
    )


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", help="run directory of the search")
    parser.add_argument("data", help="folder with Fashion-MNIST in torchvision's layout")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the found cell, whose time the others get")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each network")
    arguments = parser.parse_args()
    info = RunDirectory.at(arguments.run_dir).read_info()
    recipe = TrainingSettings.model_validate(info.config["training"])
    splits, few = (
        load_data(DataSettings(name="fashion_mnist", root=arguments.data, limit=limit), seed=0)
        for limit in (None, 6000)
    )
    course = Course(recipe, splits, few, arguments.seeds)
    found = find_network(arguments.run_dir)
    name = f"found cell, N = {found.repeats}, F = {found.filters}"
    results = {name: course.train(found, arguments.epochs)}
    budget = mean(results[name].seconds)
    for name in BASELINES:
        spec = BaselineSpec(baseline=name, classes=10, image_channels=1, image_size=(28, 28))
        results[name] = course.train(spec, course.epochs_within(budget, spec))
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision"))
    print("# A found cell and two baselines on Fashion-MNIST\n")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} CPUs, ", end="")
    print(f"{torch.get_num_threads()} threads, Python {platform.python_version()}, {packages}. Written by\n")
    print("```\n" + " ".join(["python benchmarks/fashion_mnist.py", *sys.argv[1:]]) + "\n```\n")
    shown = ", ".join(f"{name} {value}" for name, value in recipe.model_dump(exclude={"preset", "epochs"}).items())
    trials = info.config["budget"]["trials"]
    print(
        f"The 60,000 training images, {arguments.seeds} seeds, one recipe ({shown}), equal time: the baselines have as "
        f"many epochs as fit into the {budget:.0f} s that {arguments.epochs} epochs of the found cell took. The cell "
        f"is the best of {trials} candidates of a search on 5,000 of the training images. Accuracy on the "
        "10,000 test images, mean and standard deviation over the seeds; latency of one image.\n"
    )
    print("| network | parameters | multiply-adds | latency | epochs | training | test accuracy |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    ranking = sorted(results, key=lambda name: mean(results[name].accuracies), reverse=True)
    for name in ranking:
        print(row(name, results[name]))


if __name__ == "__main__":
    main()
