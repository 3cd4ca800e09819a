"""Shows the results of a retraining as a table and as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from orchestrator.networks.retraining.runner import ordinal
from orchestrator.progress import clock
from orchestrator.record import Retrained
from orchestrator.words import counted


def retraining_table(results: Sequence[Retrained]) -> Table:
    """One row per network, in 80 columns."""
    shown = Table(title="Retraining", box=box.SIMPLE_HEAD)
    for name in ("network", "parameters", "macs", "latency", "test accuracy", "time"):
        shown.add_column(name, justify="left" if name == "network" else "right")
    for one in results:
        shown.add_row(
            one.name,
            f"{one.parameters:,}",
            f"{one.macs / 1e6:,.1f} M",
            "-" if one.latency_seconds is None else f"{one.latency_seconds * 1e3:.2f} ms",
            _accuracy(one),
            clock(one.train_seconds),
        )
    return shown


def retraining_notes(results: Sequence[Retrained]) -> str:
    """Further facts, one line per network."""
    return "\n".join(line for one in results for line in _notes(one))


def _notes(one: Retrained) -> Iterator[str]:
    yield f"{one.name}: {', '.join(_facts(one))}; in {one.location}"
    if one.by_class is not None:
        scores = (f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in one.by_class.items())
        yield f"{one.name} by class: {', '.join(scores)}"


def _facts(one: Retrained) -> list[str]:
    if one.test_number is None or one.tested_at is None:
        if one.diverged == len(one.seeds):
            return ["not tested, because all trainings diverged"]
        if one.is_over:
            return [f"trained ({counted(one.epochs, 'epoch')}), not tested yet; the same command tests it"]
        return [f"{counted(one.epochs, 'epoch')} so far; the same command goes on"]
    facts = [] if one.score == "accuracy" else [f"its accuracy is the {one.score}"]
    facts += [counted(one.epochs, "epoch"), f"tested on {one.tested_at:%Y-%m-%d} ({one.device})"]
    if len(one.accuracies) > 1:
        facts.insert(0, f"mean and standard deviation of {len(one.accuracies)} seeds")
    if one.test_number > 1:
        facts.append(f"the {ordinal(one.test_number)} test of this network, so its accuracy is not fresh evidence")
    if one.weights is not None:
        begun = "only its classifier trained, on features of the" if one.freeze else "started from"
        facts.append(f"{begun} weights {one.weights[:12]}")
    if one.diverged:
        facts.append(f"{one.diverged} of {len(one.seeds)} trainings diverged and are left out")
    return facts


def _accuracy(one: Retrained) -> str:
    if one.accuracy is None:
        return "-"
    spread = "" if one.deviation is None else f" ± {one.deviation:.4f}"
    return f"{one.accuracy:.4f}{spread}"
