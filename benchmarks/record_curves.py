"""Records learning curves of random NASNet architectures, for replaying searches on a virtual clock.

    python benchmarks/record_curves.py record RUN_DIR       # trains 200 architectures for 27 epochs each
    python benchmarks/record_curves.py summarise RUN_DIR    # copies the tables here and writes the summary

The task is scikit-learn's digits with few training images and many validation images, so that scores do not saturate.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from scipy.stats import kendalltau, spearmanr

from orchestrator.config import SearchConfig, parse_config
from orchestrator.progress import Progress
from orchestrator.search import run_search

TRIALS, EPOCHS = 200, 27


def recording() -> SearchConfig:
    """Return the search: random architectures, each trained to the end."""
    return parse_config(
        {
            "run": {"name": "curves"},
            "network": {"repeats": 1, "filters": 8},
            "data": {"name": "digits", "validation_fraction": 0.8},
            "training": {"epochs": EPOCHS, "batch_size": 32, "label_smoothing": 0.1},
            "sampler": {"name": "random"},
            "scheduler": {"name": "fifo"},
            "budget": {"trials": TRIALS},
        },
        "the recording",
    )


def rank_correlations(folder: Path) -> Iterator[str]:
    """Yield a table: how well an epoch's accuracies rank the final ones, and how many of the best it would keep."""
    epochs = pq.read_table(folder / "epochs.parquet").to_pandas()
    curves = epochs.pivot(index="trial_id", columns="epoch", values="val_accuracy").dropna()
    final = curves[EPOCHS]
    best = set(final.nlargest(len(final) // 10).index)
    correlations = "Spearman's rank correlation with epoch 27 | Kendall's tau"
    yield f"| epoch | {correlations} | fraction of the best tenth in its best third |"
    yield "|---|---|---|---|"
    for epoch in (1, 3, 9, 18):
        scores = curves[epoch]
        kept = len(best & set(scores.nlargest(len(final) // 3).index)) / len(best)
        yield f"| {epoch} | {spearmanr(scores, final)[0]:.2f} | {kendalltau(scores, final)[0]:.2f} | {kept:.0%} |"


def summarise(run_dir: Path) -> None:
    """Copy the tables beside this program, and write their summary."""
    folder = Path(__file__).parent / "curves"
    folder.mkdir(exist_ok=True)
    for name in ("trials.parquet", "epochs.parquet"):
        shutil.copy(run_dir / name, folder / name)
    trials = pq.read_table(folder / "trials.parquet").to_pandas()
    info = json.loads((run_dir / "run.json").read_text())
    final = trials.val_accuracy
    hours = (trials.ended_at.max() - trials.started_at.min()).total_seconds() / 3600
    versions = ", ".join(f"{name} {info['versions'][name]}" for name in ("torch", "ray", "optuna"))
    data = info["data"]
    (folder.parent / "record_curves.md").write_text(
        "# Learning curves of random NASNet architectures\n\n"
        f"{info['started_at'][:10]}, {info['resources']['slots']} CPU cores, no GPU, Python "
        f"{info['versions']['python']}, {versions}. Written by\n\n```\n"
        "python benchmarks/record_curves.py record RUN_DIR\n"
        "python benchmarks/record_curves.py summarise RUN_DIR\n```\n\n"
        f"`curves/` holds the run's own tables: {len(trials)} architectures of the NASNet space (N = 1, F = 8), each "
        f"trained for {EPOCHS} epochs on {data['train']} of scikit-learn's digits and scored on {data['validation']} "
        f"others. They took {trials.train_seconds.sum() / 3600:.1f} hours of one core each, {hours:.1f} hours in all; "
        "other work ran on the machine at the time, so an epoch took longer than it would alone.\n\n"
        f"Final validation accuracy: best {final.max():.4f}, median {final.median():.4f}, worst {final.min():.4f}; one "
        f"standard error of the best is {(final.max() * (1 - final.max()) / data['validation']) ** 0.5:.4f}."
        "\n\n" + "\n".join(rank_correlations(folder)) + "\n"
    )


def main() -> None:
    """Run the command of the command line."""
    command, run_dir = sys.argv[1], Path(sys.argv[2])
    if command == "record":
        run_search(recording(), run_dir=run_dir, progress=Progress(Console(stderr=True)))
    elif command == "summarise":
        summarise(run_dir)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
