"""What there is to say of a retraining that runs. Read from the record of the network that is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import final

from orchestrator.networks.retraining.record import EpochTrained, RetrainState
from orchestrator.progress import Row, Snapshot, clock, format_estimate, sparkline

RECENT = 5
"""Epochs by which the speed is told."""


@final
class RetrainView:
    """
    Args:
        names: of all networks, in the order in which they are trained.
        seeds: how many trainings each has.
        epochs: of a training.
        held_out: whether there are scores on validation images, by which a training may end early.
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
        """From now on this network is trained; its state goes on."""
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
        """Seed and epochs of the training that was begun last."""
        begun = list(self._state.epochs.items())
        return begun[-1] if begun else (None, [])

    def _accuracy(self, rows: Sequence[EpochTrained]) -> list[str]:
        values = [(row.val_accuracy if self._held_out else row.train_accuracy) or 0.0 for row in rows]
        best = f"best {max(values):.4f} at epoch {values.index(max(values)) + 1}"
        images = f"on {'validation' if self._held_out else 'training'} images"
        return [f"{values[-1]:.4f}", images, *([best] if self._held_out else []), sparkline(values)]

    def _left(self, seed: int | None, rows: Sequence[EpochTrained]) -> list[str]:
        """Until this network's last seed is trained, and how many networks then come."""
        if not rows:
            return []
        had = 0 if seed in self._state.ended else len(rows)
        epochs = (self._seeds - len(self._state.ended)) * self._epochs - had
        after = len(self._names) - self._names.index(self._name) - 1
        most = "at most" if self._held_out else "about"
        then = f", then {after} more network{'s' * (after > 1)}" if after else ""
        return [f"{most} {format_estimate(epochs * _pace(rows))} left{then}"] if epochs > 0 else []


def _pace(rows: Sequence[EpochTrained]) -> float:
    """Seconds of an epoch, of late."""
    recent = rows[-RECENT:]
    return sum(row.seconds for row in recent) / len(recent)
