"""How a candidate is built and trained. Importing the package does not import torch."""

from trainables.cell_trainable import CellTrainable
from trainables.epoch_trainable import EpochTrainable, TrialPlan
from trainables.instant_trainable import InstantTrainable
from trainables.network_spec import NetworkSpec

TRAINABLES: dict[str, type[EpochTrainable]] = {"cell": CellTrainable, "instant": InstantTrainable}
"""Every trainable that a search file may name."""

__all__ = ["TRAINABLES", "CellTrainable", "EpochTrainable", "InstantTrainable", "NetworkSpec", "TrialPlan"]
