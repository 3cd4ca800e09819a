"""Shows an export as a table in 80 columns, as text, and as JSON."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from orchestrator.networks.export.run import ExportResult
from orchestrator.record import Scores
from orchestrator.words import counted

REPORTED_LOSS = 0.01
"""A greater loss of accuracy is reported."""


def export_table(result: ExportResult) -> Table:
    """A row for PyTorch and a row for the file."""
    file = result.file
    counts = list(file.scores.latency_seconds)
    shown = Table(title="Exported", box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("")
    for name in ("size", "differs", "accuracy", *(counted(count, "image") for count in counts)):
        shown.add_column(name, justify="right")
    label = "PyTorch" if file.pruning is None else "PyTorch, pruned"
    shown.add_row(label, _size(file.pytorch_size), "-", *_scores(file.pytorch, counts))
    shown.add_row(file.file, _size(file.size), f"{file.largest_difference:.1e}", *_scores(file.scores, counts))
    return shown


def export_notes(result: ExportResult) -> Text:
    """Further facts as text."""
    file = result.file
    text = Text()
    seen = ", on which the network was trained, so that this says little" if file.saw_validation else ""
    text.append(f"accuracy    on {file.images} validation images{seen}\n")
    text.append("differs     the largest difference of a logit from PyTorch; latency: median, CPU of this machine\n")
    done = file.pruning
    if done is not None:
        text.append(
            f"pruned      {done.fraction:.0%} of the {done.kind}, then {counted(done.fine_tune, 'epoch')}; "
            f"{done.zeros:.1%} of the weights are zero\n"
        )
    if file.accuracy_lost > REPORTED_LOSS:
        text.append(
            f"lost        {file.accuracy_lost:.4f} of accuracy: {file.accuracy_before:.4f} as trained, "
            f"{file.scores.accuracy:.4f} in {file.file}\n",
            style="bold",
        )
    return text.append(f"written     {result.folder / file.file}")


def export_json(result: ExportResult) -> dict[str, Any]:
    return {
        "location": str(result.folder / result.file.file),
        **result.file.model_dump(mode="json"),
        "accuracy_lost": result.file.accuracy_lost,
    }


def _scores(scores: Scores, counts: list[int]) -> list[str]:
    return [f"{scores.accuracy:.4f}", *(f"{scores.latency_seconds[count] * 1e3:.2f} ms" for count in counts)]


def _size(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
