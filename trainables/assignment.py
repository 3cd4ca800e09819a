"""What a worker is given besides a trial's parameters: the trial's id, its progress and its share of the resources.

It travels under one key of the configuration that Ray Tune hands to the worker. No torch, no Ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

CONFIG_KEY = "cellscout"
"""Key of the assignment in a trial's configuration; no decision of a space has this name."""


@dataclass(frozen=True, kw_only=True)
class Resample:
    """A further training of a candidate, in an evaluation or in the confirmation of a search."""

    seed: int
    """Seeds the training, and shuffles the training and validation images before they are split."""
    split: Literal["fold", "fresh", "search"]
    """How they are split: `fold`: one fold of a cross-validation is scored on, `fresh`: anew, in parts of the same size
    as in the search, `search`: as in the search."""
    folds: int = 0
    """Number of folds, for `fold`; each has the classes in the proportion of the whole."""
    fold: int = 0
    """The fold to score on, 0..folds - 1; the others are trained on."""

    def __str__(self) -> str:
        return f"fold {self.fold + 1} of {self.folds}" if self.split == "fold" else self.split


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial of the record, to be started or continued."""

    trial_id: str
    epochs_on_record: int = 0
    """Epochs on record. The trial continues from its checkpoint if there is one, else from its beginning."""
    micro_batches: int = 1
    """Number of parts into which each batch is split; their gradients are added up."""
    gpus: float | None = None
    """GPUs to request from Ray; None: as many as for every other trial."""
    expected_seconds: float | None = None
    """Longest epoch of this search so far; None if no epoch has ended yet."""
    costs: dict[str, float] = field(default_factory=dict)
    """The candidate's costs that are known without training it."""
    resample: Resample | None = None
    """The images and the seed to use; None: those of the run."""

    def to_config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration for Ray Tune: the parameters and this assignment."""
        return {**params, CONFIG_KEY: asdict(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """The assignment and the parameters in a configuration; inverse of `to_config`."""
        params = dict(config)
        values = {**params.pop(CONFIG_KEY)}
        if values.get("resample") is not None:
            values["resample"] = Resample(**values["resample"])
        return cls(**values), params
