"""Records learning curves of NASNet architectures on Fashion-MNIST, for replaying searches on a virtual clock.

    python benchmarks/record_fashion_curves.py record DATA      # trains 300 architectures for 9 epochs each
    python benchmarks/record_fashion_curves.py repeat DATA      # trains 30 of them twice more, with other seeds
    python benchmarks/record_fashion_curves.py summarise        # writes the summary

The record is a run directory in `curves/fashion_mnist`. Interrupt the program at any time; the same command continues.
Two thirds of the architectures are random ones. The others are the predictor's proposals, so that good regions of the
space are covered too. DATA is a folder with Fashion-MNIST in torchvision's layout.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console
from scipy.stats import kendalltau, spearmanr

from orchestrator.config import SearchConfig, parse_config
from orchestrator.progress import Progress
from orchestrator.record import EPOCHS as EPOCHS_TABLE
from orchestrator.record import INFO, RecordedRun, Trial, find_network
from orchestrator.search import resume_search, run_search
from orchestrator.simulation import REPEATS as REPEATS_TABLE
from trainables.datasets import load_data
from trainables.loader import DeviceData
from trainables.retraining import select_device
from trainables.training import Training

FOLDER = Path(__file__).parent / "curves" / "fashion_mnist"
RANDOM, TRIALS, EPOCHS = 200, 300, 9
BLOCKS, FILTERS, LEARNING_RATE = 2, 4, 0.004
AT_ONCE = 16 if torch.cuda.is_available() else (os.cpu_count() or 1)
"""Trainings that share the GPU, or one for each CPU."""
REPEATED = 30
"""Random architectures that are trained again, evenly spread over the ranks."""
SEEDS = (1001, 1002)
REPEATS = FOLDER / REPEATS_TABLE
TRIED = """
## What was tried first

Fewer blocks and a lower learning rate spread the final accuracies, and the first epochs then say more about them. The
numbers of one training say how the accuracies of single trainings spread. Where architectures were trained twice, the
spread is that of their true accuracies, and the noise that of one training of an architecture.

| blocks | F | learning rate | architectures | standard deviation | noise | ratio | Spearman at epoch 1 | at epoch 2 |
|---|---|---|---|---|---|---|---|---|
| 5 | 4 | 0.05 | 20 | 0.0060 | | | 0.05 | 0.21 |
| 2 | 4 | 0.05 | 9 | 0.0054 | | | -0.02 | 0.10 |
| 2 | 4 | 0.02 | 9 | 0.0099 | | | 0.32 | 0.83 |
| 2 | 4 | 0.01 | 24, six twice | 0.0068 | 0.0042 | 1.3 | 0.59 | 0.66 |
| 2 | 4 | 0.004 | 12, twice | 0.0211 | 0.0068 | 3.1 | 0.78 | 0.77 |
| 2 | 4 | 0.0015 | 6, twice | 0.0438 | 0.0130 | 3.4 | 0.69 | 0.88 |
| 2 | 8 | 0.002 | 4, twice | 0.0212 | 0.0061 | 3.5 | 0.60 | 0.80 |
| 2, batch 256 | 4 | 0.02 | 10, twice | 0.0199 | 0.0076 | 2.6 | -0.15 | 0.67 |
"""


def recording(data: str) -> SearchConfig:
    """Return the search: random architectures, each trained to the end."""
    return parse_config(
        {
            "run": {"name": "curves", "keep_best": 1},
            "space": {"blocks": BLOCKS},
            "network": {"repeats": 1, "filters": FILTERS},
            "data": {
                "name": "fashion_mnist",
                "root": data,
                "image_size": 12,
                "limit": 14_000,
                "validation_fraction": 4 / 7,
            },
            "training": {"epochs": EPOCHS, "batch_size": 64, "learning_rate": LEARNING_RATE},
            "resources": {"gpus_per_trial": 1 / AT_ONCE} if torch.cuda.is_available() else {},
            "sampler": {"name": "random"},
            "scheduler": {"name": "fifo"},
            "budget": {"trials": RANDOM},
            "confirmation": {"candidates": 0},
        },
        "the recording",
    )


def record(data: str) -> None:
    """Record, or go on recording: first the random architectures, then the predictor's."""
    progress = Progress(Console(stderr=True))
    for sampler, trials in (("random", RANDOM), ("predictor", TRIALS)):
        if not (FOLDER / INFO).exists():
            ended = run_search(recording(data), run_dir=FOLDER, progress=progress)
        elif len(completed()) < trials:
            changes = [f"data.root={data}", f"sampler.name={sampler}", f"budget.trials={trials}"]
            ended = resume_search(FOLDER, changes, progress=progress)
        else:
            continue
        if ended.info.state != "completed":  # interrupted
            return


def completed() -> list[Trial]:
    """The trials that were trained in full, the best first."""
    found = [trial for trial in RecordedRun.of_search(FOLDER).state().trials.values() if trial.status == "completed"]
    return sorted(found, key=lambda trial: trial.val_accuracy or 0.0, reverse=True)


def train_again(data: str, trial_id: str, seed: int) -> list[dict[str, Any]]:
    """Train a recorded architecture with another seed on the same images; return a row for each epoch."""
    torch.set_num_threads(1)
    config = recording(data)
    images = DeviceData(load_data(config.data, config.run.seed), select_device())
    training = Training(find_network(f"{FOLDER}#{trial_id}"), config.training, images, seed=seed)
    rows = []
    for epoch in range(1, EPOCHS + 1):
        score = training.train_epoch()
        rows.append({"trial_id": trial_id, "seed": seed, "epoch": epoch, "val_accuracy": score.val_accuracy})
    return rows


def repeat(data: str) -> None:
    """Train some of the random architectures again, those that are not in the table yet."""
    ranked = [trial for trial in completed() if int(trial.trial_id) < RANDOM]
    chosen = [ranked[round(place)].trial_id for place in np.linspace(0, len(ranked) - 1, REPEATED)]
    rows: list[dict[str, Any]] = pq.read_table(REPEATS).to_pylist() if REPEATS.exists() else []
    known = {(row["trial_id"], row["seed"]) for row in rows}
    missing = [(one, seed) for seed, one in itertools.product(SEEDS, chosen) if (one, seed) not in known]
    with ProcessPoolExecutor(AT_ONCE, mp_context=multiprocessing.get_context("spawn")) as pool:
        for job in as_completed([pool.submit(train_again, data, *job) for job in missing]):
            rows += job.result()
            pq.write_table(pa.Table.from_pylist(rows), REPEATS)
            print(f"{len(rows) // EPOCHS} of {REPEATED * len(SEEDS)} repeats", file=sys.stderr, flush=True)


def rank_correlations(curves: pd.DataFrame) -> Iterator[str]:
    """Yield a table: how well an epoch's accuracies rank the final ones, and how many of the best it would keep."""
    final = curves[EPOCHS]
    best = set(final.nlargest(len(final) // 10).index)
    first = random_ones(curves)
    correlations = f"Spearman's rank correlation with epoch {EPOCHS} | of the random ones alone | Kendall's tau"
    yield f"| epoch | {correlations} | fraction of the best tenth in its best third |"
    yield "|---|---|---|---|---|"
    for epoch in range(1, EPOCHS):
        scores = curves[epoch]
        kept = len(best & set(scores.nlargest(len(final) // 3).index)) / len(best)
        ranks = [spearmanr(scores, final)[0], spearmanr(first[epoch], first[EPOCHS])[0], kendalltau(scores, final)[0]]
        yield f"| {epoch} | {' | '.join(f'{rank:.2f}' for rank in ranks)} | {kept:.0%} |"


def random_ones(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the curves of the random architectures."""
    return curves[curves.index.astype(int) < RANDOM]


def noise(curves: pd.DataFrame) -> pd.DataFrame | None:
    """Return the accuracies [architecture and epoch, training] of those that were trained again; NaN: not yet."""
    if not REPEATS.exists():
        return None
    again = pq.read_table(REPEATS).to_pandas().pivot(index=["trial_id", "epoch"], columns="seed", values="val_accuracy")
    again[0] = curves.stack().rename_axis(["trial_id", "epoch"])
    return again


def summarise() -> None:
    """Write the summary beside this program."""
    run = RecordedRun.of_search(FOLDER)
    info, trials = run.info, {trial.trial_id: trial for trial in completed()}
    epochs = pq.read_table(FOLDER / EPOCHS_TABLE).to_pandas()
    curves = epochs[epochs.trial_id.isin(trials)].pivot(index="trial_id", columns="epoch", values="val_accuracy")
    final = curves[EPOCHS]
    hours = epochs.seconds.sum() / 3600
    data, versions = info.data, ", ".join(f"{name} {info.versions[name]}" for name in ("torch", "ray", "optuna"))
    learned = sum(int(trial_id) >= RANDOM for trial_id in trials)
    lines = [
        "# Learning curves of NASNet architectures on Fashion-MNIST\n",
        f"{info.started_at:%Y-%m-%d}, {info.resources['slots']} CPU cores, no GPU, Python {info.versions['python']}, "
        f"{versions}. Written by\n",
        "```",
        *(
            f"python benchmarks/record_fashion_curves.py {command}"
            for command in ("record DATA", "repeat DATA", "summarise")
        ),
        "```\n",
        f"`curves/fashion_mnist` is a run directory without its weights. It holds {len(trials)} architectures of the "
        f"NASNet space with {BLOCKS} blocks a cell, {len(trials) - learned} random ones and {learned} that the "
        f"predictor proposed. Each (N = 1, F = 4) was trained for {EPOCHS} epochs on {data['train']:,} images of "
        "Fashion-MNIST, scaled to "
        f"{data['image_shape'][0]}x{data['image_shape'][1]} pixels, and scored on {data['validation']:,} others. They "
        f"took {hours:.1f} hours of one core; other work ran on the machine at times, so an epoch took longer than it "
        "would alone.\n",
        f"Final validation accuracy: best {final.max():.4f}, median {final.median():.4f}, worst {final.min():.4f}; "
        f"standard deviation {final.std():.4f}.\n",
    ]
    if learned:
        first = random_ones(curves)[EPOCHS]
        parts = {"The random ones": first, "those of the predictor": final.drop(first.index)}
        means = (f"{whose} {part.mean():.4f} on average and {part.max():.4f} at best" for whose, part in parts.items())
        lines.append(f"{', '.join(means)}.\n")
    if len(trials) < TRIALS:
        lines.append(f"The recording is not finished: {len(trials)} of {TRIALS} architectures. It goes on.\n")
    repeated = noise(curves)
    if repeated is not None:
        ends = repeated.xs(EPOCHS, level="epoch").to_numpy()
        freedom = np.isfinite(ends).sum(axis=1) - 1
        deviation = float(np.sqrt((np.nanvar(ends, axis=1, ddof=1) * freedom).sum() / freedom.sum()))
        lines.append(
            f"{len(ends)} of them, spread over all ranks, were trained again with other seeds on the same images, "
            f"{freedom.sum()} times in all. The standard deviation of one final accuracy is {deviation:.4f}: the "
            "accuracies of all "
            f"architectures spread {final.std() / deviation:.1f} times as much, and the best and the worst differ by "
            f"{(final.max() - final.min()) / deviation:.0f} times as much.\n"
        )
    (FOLDER.parents[1] / "record_fashion_curves.md").write_text("\n".join([*lines, *rank_correlations(curves), TRIED]))


def main() -> None:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("record", "repeat", "summarise"))
    parser.add_argument("data", nargs="?", help="folder with Fashion-MNIST in torchvision's layout")
    arguments = parser.parse_args()
    match arguments.command:
        case "record":
            record(arguments.data)
        case "repeat":
            repeat(arguments.data)
        case "summarise":
            summarise()


if __name__ == "__main__":
    main()
