"""Builds and trains candidates. Importing the package does not import torch."""

from trainables.cell_trainable import CellTrainable
from trainables.epoch_trainable import EpochTrainable, TrialPlan
from trainables.instant_trainable import InstantTrainable
from trainables.network_spec import NetworkSpec

TRAINABLES: dict[str, type[EpochTrainable]] = {"cell": CellTrainable, "instant": InstantTrainable}
"""Built-in trainables, by their names in a search file."""

__all__ = ["TRAINABLES", "CellTrainable", "EpochTrainable", "InstantTrainable", "NetworkSpec", "TrialPlan"]
