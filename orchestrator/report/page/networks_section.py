"""Shows what was made of a search's result: the retrained networks and the exported files, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.progress import clock
from orchestrator.record import ExportedFile, Retrained
from orchestrator.report.page.table import Table, text_table
from orchestrator.words import counted


def retrained_table(found: Mapping[str, Retrained]) -> Table:
    """Tabulate the retrained networks by the names of their folders."""
    return text_table(
        [
            "network",
            "test accuracy",
            "seeds",
            "parameters",
            "multiply-adds",
            "latency",
            "epochs",
            "training time",
            "note",
        ],
        (
            [
                name,
                "not tested" if one.accuracy is None else f"{one.accuracy:.4f}{_spread(one)}",
                str(len(one.seeds)),
                f"{one.parameters:,}",
                f"{one.macs / 1e6:,.2f} M",
                _milliseconds(one.latency_seconds),
                f"{one.epochs:g}",
                clock(one.train_seconds),
                _retraining_note(one),
            ]
            for name, one in found.items()
        ),
    )


def exports_table(found: Mapping[str, Sequence[ExportedFile]]) -> Table:
    """Tabulate the exported files by the folder of their network in the run directory."""
    files = [(folder, one) for folder, some in found.items() for one in some]
    batches = sorted({images for _, one in files for images in one.scores.latency_seconds})
    return text_table(
        [
            "file",
            "size",
            "validation accuracy",
            "lost",
            "differs",
            *(counted(images, "image") for images in batches),
            "note",
        ],
        (
            [
                f"{folder}/export/{one.file}",
                f"{one.size / 1e6:,.2f} MB",
                f"{one.scores.accuracy:.4f}",
                f"{one.accuracy_lost:.4f}",
                f"{one.largest_difference:.1e}",
                *(_milliseconds(one.scores.latency_seconds.get(images)) for images in batches),
                _export_note(one),
            ]
            for folder, one in files
        ),
    )


def _spread(one: Retrained) -> str:
    return "" if one.deviation is None else f" ± {one.deviation:.4f}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.2f} ms"


def _retraining_note(one: Retrained) -> str:
    notes = []
    if one.score != "accuracy":
        notes.append(f"accuracy: {one.score}")
    if one.by_class is not None:
        by_class = (f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in one.by_class.items())
        notes.append(f"by class: {', '.join(by_class)}")
    if one.tested_at is not None:
        notes.append(f"tested {one.tested_at:%Y-%m-%d} on {one.device}")
    if one.test_number is not None and one.test_number > 1:
        notes.append(f"test {one.test_number} of this network, so not fresh evidence")
    if one.freeze:
        notes.append("only its classifier was trained")
    elif one.weights is not None:
        notes.append("started from given weights")
    return "; ".join(notes)


def _export_note(one: ExportedFile) -> str:
    notes = [f"{one.size / one.pytorch_size:.0%} of PyTorch's {one.pytorch_size / 1e6:,.2f} MB"]
    if one.pruning is not None:
        notes.append(
            f"{one.pruning.fraction:.0%} of the {one.pruning.kind} pruned, then "
            f"{counted(one.pruning.fine_tune, 'epoch')}"
        )
    if one.saw_validation:
        notes.append("trained on the validation images, so their accuracy says little")
    return "; ".join(notes)
