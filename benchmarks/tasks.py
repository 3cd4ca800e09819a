"""Compares cells found for texts and for segmentation with known networks, in equal time; writes `tasks.md`.

    python benchmarks/tasks.py DATA --cache runs/tasks

DATA holds `trec/train.csv` and `trec/test.csv` (the TREC questions) and `camvid/camvid_96x128.npz` (CamVid's street
scenes). For each of the two, a search on the training part finds a cell. Then the found network, wider than in the
search, and the known ones are trained from scratch with one recipe on all examples but those of the test part: the
found one for some epochs, the others for as many as fit into the same time. Each training is tested once. Finished
searches and trainings stay in the cache, so the same command continues an interrupted benchmark.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from samplers import cpu
from task_networks import TEXTBOOK, AdamW, TextbookTraining

from orchestrator.config import SearchConfig, parse_config
from orchestrator.record import ENDED, INFO, RecordedRun, find_network
from orchestrator.search import resume_search, run_search
from trainables.baseline_spec import BaselineSpec
from trainables.datasets import load_data
from trainables.network_spec import NetworkSpec
from trainables.procedure import TrainingProcedure
from trainables.retraining import Retraining, RetrainingPlan, count_costs, score_on_test

TITLE = "# Found cells and known networks, for texts and for segmentation"
FOUND = "found cell"
ADAM = {"learning_rate": 0.001, "schedule": "constant", "weight_decay": 0.0}
"""Changes that make `AdamW` the usual Adam, with which the textbooks' network is trained."""
WORKERS = 2
CPU = torch.device("cpu")
TRIAL_SEED = 1000
"""The seed of a training of one epoch that measures a network's speed."""


@dataclass(frozen=True)
class Comparison:
    """A data set, the search on it, and the trainings of the found network and of known ones."""

    title: str
    name: str
    score: str
    search: Mapping[str, Mapping[str, Any]]
    """The sections of the search file."""
    filters: int
    """F of the found network when it is trained again."""
    epochs: int
    """Epochs of the found network, whose time the others get."""
    others: Mapping[str, tuple[str, Mapping[str, Any]]]
    """What it is compared with, by what it is called: a baseline, the textbooks' network or the found one; and how its
    recipe differs from the search's."""
    procedure: type[TrainingProcedure] = TrainingProcedure
    remark: str = ""
    """What else must be known of the trainings."""

    def config(self, data: Path) -> SearchConfig:
        """Return the settings of the search; what they leave open has its default."""
        section = self.search["data"]
        located = {**section, "root": str(data / section["root"])}
        return parse_config({**self.search, "data": located}, f"the search on {self.name}")


COMPARISONS = (
    Comparison(
        title="Texts: TREC",
        name="trec",
        score="accuracy",
        search={
            "network": {"repeats": 1, "filters": 16, "stem_channels": 256, "embedding": 300},
            "data": {"name": "text", "root": "trec", "min_count": 1},
            "training": {
                "epochs": 9,
                "batch_size": 50,
                "learning_rate": 0.003,
                "weight_decay": 0.01,
                "dropout": 0.5,
                "word_dropout": 0.1,
            },
            "trainable": {"name": "task_networks:AdamWTrainable"},
            "budget": {"hours": 1 / 3},
        },
        filters=32,
        epochs=10,
        others={
            TEXTBOOK: (TEXTBOOK, {}),
            f"{TEXTBOOK}, Adam": (TEXTBOOK, ADAM),
            f"{FOUND}, Adam": (FOUND, ADAM),
        },
        procedure=AdamW,
        remark="The textbooks' network also has 300 numbers for a word, but no word dropout. *Adam*: a constant "
        "learning rate of 0.001 and no weight decay. ",
    ),
    Comparison(
        title="Segmentation: CamVid",
        name="camvid",
        score="mean intersection over union",
        search={
            "network": {"skeleton": "darts_imagenet", "repeats": 1, "filters": 8, "decoder": "skip"},
            "data": {"name": "segmentation", "root": "camvid/camvid_96x128.npz", "ignored_class": 11},
            "training": {"epochs": 9, "batch_size": 8, "learning_rate": 0.1, "flip": True},
            "budget": {"hours": 1 / 6},
        },
        filters=16,
        epochs=16,
        others={name: (name, {}) for name in ("lraspp_mobilenet_v3_large", "fcn_resnet50")},
    ),
)


@dataclass(frozen=True)
class Trained:
    """One training and its test."""

    network: str
    seed: int
    epochs: int
    seconds: float
    score: float
    parameters: int
    by_class: dict[str, float | None] | None = None


def spec_of(network: str, found: NetworkSpec) -> NetworkSpec | BaselineSpec:
    """Return the spec of the found network, or of a baseline for the same images."""
    if network == FOUND:
        return found
    height, width = found.image_size
    return BaselineSpec(
        baseline=network, classes=found.classes, image_channels=found.image_channels, image_size=(height, width)
    )


def train(comparison: Comparison, data: Path, found: NetworkSpec, network: str, *, epochs: int, seed: int) -> Trained:
    """Train a network with one thread, and test it."""
    torch.set_num_threads(1)
    config = comparison.config(data)
    kind, changes = comparison.others.get(network, (network, {}))
    recipe = config.training.model_copy(update={**changes, "epochs": epochs})
    splits = load_data(config.data, config.run.seed)
    if kind == TEXTBOOK:
        textbook = TextbookTraining(splits, recipe, seed)
        seconds = textbook.train()
        return Trained(network, seed, epochs, seconds, textbook.accuracy(), textbook.parameters)
    spec = spec_of(kind, found)
    plan = RetrainingPlan(spec=spec, training=recipe, procedure=comparison.procedure)
    images = plan.images(splits)
    training = Retraining(plan, images, seed=seed, device=CPU)
    while not training.is_over:
        training.train_epoch()
    test = score_on_test(plan, training.weights(), images)
    seconds = sum(epoch.seconds for epoch in training.curve)
    return Trained(network, seed, epochs, seconds, test.accuracy, count_costs(spec)[0], test.by_class)


def search(config: SearchConfig, run_dir: Path) -> None:
    """Search, or go on with an interrupted search."""
    if not (run_dir / INFO).exists():
        run_search(config, run_dir=run_dir)
    elif RecordedRun.of_search(run_dir).state().outcome not in ENDED:
        resume_search(run_dir)
    if RecordedRun.of_search(run_dir).state().outcome not in ENDED:
        raise KeyboardInterrupt


@dataclass
class Trainings:
    """The trainings of a comparison; each is written when it has ended."""

    path: Path
    done: list[Trained] = field(init=False)

    def __post_init__(self) -> None:
        rows = json.loads(self.path.read_text()) if self.path.exists() else []
        self.done = [Trained(**row) for row in rows]

    def of(self, network: str) -> list[Trained]:
        """Those of a network, by seed, except the one that measured its speed."""
        found = [one for one in self.done if one.network == network and one.seed != TRIAL_SEED]
        return sorted(found, key=lambda one: one.seed)

    def run(self, jobs: Iterable[tuple[str, int, int]], **shared: Any) -> None:
        """Train what is missing: networks with epochs and seeds, two at a time."""
        known = {(one.network, one.seed) for one in self.done}
        with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
            running = [
                pool.submit(train, network=network, epochs=epochs, seed=seed, **shared)
                for network, epochs, seed in jobs
                if (network, seed) not in known
            ]
            for one in as_completed(running):
                self.done.append(one.result())
                self.path.write_text(json.dumps([asdict(trained) for trained in self.done]))
                print(f"{datetime.now(UTC):%H:%M:%S} {self.done[-1]}", file=sys.stderr, flush=True)

    def epochs_within(self, seconds: float, network: str) -> int:
        """How many epochs of a network fit into a time, at least one, by its trial training of one epoch."""
        (trial,) = [one for one in self.done if one.network == network and one.seed == TRIAL_SEED]
        return max(1, int(seconds / trial.seconds))


def compare(comparison: Comparison, data: Path, cache: Path, seeds: int) -> Iterator[str]:
    """Search, train, and yield the lines of a section of the result."""
    config, run_dir = comparison.config(data), cache / comparison.name
    search(config, run_dir)
    found = replace(find_network(str(run_dir)), filters=comparison.filters)
    trainings = Trainings(cache / f"{comparison.name}.json")
    shared = {"comparison": comparison, "data": data, "found": found}
    trainings.run(((FOUND, comparison.epochs, seed) for seed in range(seeds)), **shared)
    trainings.run(((network, 1, TRIAL_SEED) for network in comparison.others), **shared)
    seconds = fmean(one.seconds for one in trainings.of(FOUND))
    trainings.run(
        (
            (network, trainings.epochs_within(seconds, network), seed)
            for network in comparison.others
            for seed in range(seeds)
        ),
        **shared,
    )
    yield searched(config, run_dir)
    recipe = ", ".join(f"{key} = {value}" for key, value in comparison.search["training"].items() if key != "epochs")
    yield (
        f"Then {seeds} trainings of each network on one thread, two at a time, with the same recipe ({recipe}"
        f"{', optimiser AdamW' if comparison.procedure is AdamW else ''}). The found cell has F = {comparison.filters}"
        f" and {comparison.epochs} epochs; the others have as many epochs as fit into its time, and at least one. "
        f"{comparison.remark}Test "
        f"{comparison.score}, mean and standard deviation over the seeds:\n"
    )
    yield from table(comparison, trainings)


def searched(config: SearchConfig, run_dir: Path) -> str:
    """Return a sentence on the search."""
    run = RecordedRun.of_search(run_dir)
    state, events, facts = run.state(), run.events(), run.info.data
    tried = sum(bool(trial.curve) for trial in state.trials.values())
    minutes = (events[-1].time - events[0].time).total_seconds() / 60
    network = ", ".join(f"{key} = {value}" for key, value in config.network.model_dump(exclude_none=True).items())
    return (
        f"A search of {minutes:.0f} minutes on {run.info.resources['slots']} CPU cores trained {tried} "
        f"candidates for at most {config.training.epochs} epochs on {facts['train']:,} examples, and scored them on "
        f"{facts['validation']:,} others ({network}). It named trial {state.winner.trial_id if state.winner else '-'}"
        f"{' after further trainings' if state.confirmed is not None else ', unconfirmed'}.\n"
    )


def table(comparison: Comparison, trainings: Trainings) -> Iterator[str]:
    """Yield the networks, the best first, and the scores of their classes."""
    known = {network: trainings.of(network) for network in (FOUND, *comparison.others)}
    ranking = sorted(known, key=lambda network: fmean(one.score for one in known[network]), reverse=True)
    yield f"| network | parameters | epochs | training | test {comparison.score} | each |"
    yield "|---|--:|--:|--:|--:|---|"
    for network in ranking:
        scores = [100 * one.score for one in known[network]]
        spread = f" ± {stdev(scores):.1f}" if len(scores) > 1 else ""
        one, seconds = known[network][0], fmean(one.seconds for one in known[network])
        each = ", ".join(f"{score:.1f}" for score in scores)
        cells = (f"{one.parameters:,}", one.epochs, f"{seconds:.0f} s", f"{fmean(scores):.1f}{spread}", each)
        yield f"| {network} | {' | '.join(map(str, cells))} |"
    yield ""
    if (by_class := known[FOUND][0].by_class) is not None:
        classes = list(by_class)
        yield f"| of each class | {' | '.join(classes)} |"
        yield "|---|" + "--:|" * len(classes)
        for network in ranking:
            means = [fmean((one.by_class or {})[name] or 0.0 for one in known[network]) for name in classes]
            yield f"| {network} | {' | '.join(f'{100 * mean:.1f}' for mean in means)} |"
        yield ""


def main() -> None:
    """Compare, and write the result after each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with TREC and CamVid")
    parser.add_argument("--cache", type=Path, required=True, help="folder of searches and finished trainings")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each network")
    parser.add_argument("--only", choices=[one.name for one in COMPARISONS], help="leave the other section as it is")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "tasks.md")
    arguments = parser.parse_args()
    cache, data = arguments.cache.resolve(), arguments.data.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "ray", "optuna"))
    only = f" --only {arguments.only}" if arguments.only else ""
    command = f"python benchmarks/tasks.py DATA --cache {arguments.cache.name} --seeds {arguments.seeds}{only}"
    how = [
        f"{datetime.now(UTC):%Y-%m-%d}, {cpu()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, "
        f"{packages}. Written by\n",
        f"```\n{command}\n```\n",
    ]
    sections = read_sections(arguments.output)
    for comparison in COMPARISONS:
        if arguments.only in (None, comparison.name):
            found = [*how, *compare(comparison, data, cache, arguments.seeds)]
            sections[comparison.title] = "\n".join(found).strip()
            text = "".join(f"\n## {title}\n\n{section}\n" for title, section in sections.items())
            arguments.output.write_text(f"{TITLE}\n{text}", encoding="utf-8")


def read_sections(page: Path) -> dict[str, str]:
    """Return the sections of an earlier result by their titles."""
    _, *parts = page.read_text(encoding="utf-8").split("\n## ") if page.exists() else ("",)
    return {title: text.strip() for title, _, text in (part.partition("\n") for part in parts)}


if __name__ == "__main__":
    main()
