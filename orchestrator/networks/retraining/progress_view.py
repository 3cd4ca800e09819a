"""The progress of a running retraining, read from the record of the current network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import final

from orchestrator.networks.retraining.record import EpochTrained, RetrainState
from orchestrator.progress import Row, Snapshot, clock, format_estimate, sparkline
from orchestrator.words import counted

RECENT = 5
"""Number of last epochs for the average speed."""


@final
class RetrainView:
    """The view of a retraining.

    Args:
        names: all networks, in the order of their training.
        seeds: number of trainings of each network.
        epochs: maximum number of epochs of a training.
        held_out: whether there are scores on validation images, so that a training may end early.
        is_stopped: whether the user asked to stop.
    """

    def __init__(
        self, names: Sequence[str], seeds: int, epochs: int, *, held_out: bool, is_stopped: Callable[[], bool]
    ) -> None:
        self._names = list(names)
        self._seeds = seeds
        self._epochs = epochs
        self._held_out = held_out
        self._is_stopped = is_stopped
        self._begun = time.monotonic()
        self._name = self._names[0]
        self._state = RetrainState()

    def turn_to(self, name: str, state: RetrainState) -> None:
        """Show this network from now on; its state is updated by the record."""
        self._name, self._state = name, state

    def snapshot(self) -> Snapshot:
        """How it stands."""
        seed, rows = self._training()
        place = f"{self._names.index(self._name) + 1} of {len(self._names)}"
        stopping = ["stopping after this epoch"] if self._is_stopped() else []
        number = min(self._seeds, len(self._state.ended) + 1)
        shown = [Row("network", [f"{place}: {self._name}"])]
        if seed is not None:
            shown.append(Row("seed", [f"{number} of {self._seeds}: {seed}"]))
        shown.append(Row("epoch", [f"{len(rows)} of {self._epochs}"], done=len(rows) / self._epochs))
        if rows:
            shown += [
                Row("loss", [f"{rows[-1].train_loss:.4f}", sparkline([row.train_loss for row in rows])]),
                Row("accuracy", [*self._accuracy(rows)], style="good"),
                Row("speed", [f"{rows[-1].images_per_second:,.0f} images/s", f"{_pace(rows):.1f} s an epoch"]),
            ]
        elapsed = f"{clock(time.monotonic() - self._begun)} elapsed"
        left = self._left(seed, rows)
        shown.append(Row("time", [*stopping, *left, elapsed]))
        epoch = f"epoch {len(rows)} of {self._epochs}"
        scores = f"; loss {rows[-1].train_loss:.4f}, accuracy {' '.join(self._accuracy(rows)[:2])}" if rows else ""
        which = f"network {place}: {self._name}, training {number} of {self._seeds}"
        return Snapshot(
            title="cellscout · retrain",
            rows=shown,
            line=f"{which}, {epoch}{scores}; {', '.join([*left, elapsed])}",
            key=(self._name, number, len(rows)),
        )

    def _training(self) -> tuple[int | None, list[EpochTrained]]:
        """Seed and epochs of the latest training; None and no epochs before the first one."""
        begun = list(self._state.epochs.items())
        return begun[-1] if begun else (None, [])

    def _accuracy(self, rows: Sequence[EpochTrained]) -> list[str]:
        values = [(row.val_accuracy if self._held_out else row.train_accuracy) or 0.0 for row in rows]
        best = f"best {max(values):.4f} at epoch {values.index(max(values)) + 1}"
        images = f"on {'validation' if self._held_out else 'training'} images"
        return [f"{values[-1]:.4f}", images, *([best] if self._held_out else []), sparkline(values)]

    def _left(self, seed: int | None, rows: Sequence[EpochTrained]) -> list[str]:
        """Time until all seeds of this network are trained, and the number of networks after it; empty if not known."""
        if not rows:
            return []
        had = 0 if seed in self._state.ended else len(rows)
        epochs = (self._seeds - len(self._state.ended)) * self._epochs - had
        after = len(self._names) - self._names.index(self._name) - 1
        most = "at most" if self._held_out else "about"
        then = f", then {counted(after, 'more network')}" if after else ""
        return [f"{most} {format_estimate(epochs * _pace(rows))} left{then}"] if epochs > 0 else []


def _pace(rows: Sequence[EpochTrained]) -> float:
    """Average seconds of the last epochs."""
    recent = rows[-RECENT:]
    return sum(row.seconds for row in recent) / len(recent)
