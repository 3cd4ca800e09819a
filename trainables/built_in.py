"""The table of built-in trainables."""

from __future__ import annotations

from trainables.cell_trainable import CellTrainable
from trainables.epoch_trainable import EpochTrainable
from trainables.instant_trainable import InstantTrainable

TRAINABLES: dict[str, type[EpochTrainable]] = {"cell": CellTrainable, "instant": InstantTrainable}
"""Built-in trainables, by their names in a search file."""
