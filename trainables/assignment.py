"""What a worker is told of a trial besides its parameters: which one of the record it is, and where that stands.

Travels in the configuration that Ray Tune hands to the worker, under one key. No torch, no Ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

KEY = "cellscout"
"""Of the assignment in a trial's configuration; no decision of a space is called so."""


@dataclass(frozen=True, kw_only=True)
class Resample:
    """One training of a candidate in an evaluation, which has one for each fold of each seed.

    The training and validation images are shuffled by `seed` and cut into so many `folds`, each with the classes in the
    proportion of the whole. The one of the number `fold` (0..folds - 1) is scored on, the others are trained on. `seed`
    decides the training, too.
    """

    seed: int
    folds: int
    fold: int


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial of the record, to begin or to go on with.

    `epochs` of it are on record; if a checkpoint is there, it goes on from that, else from its beginning.
    `micro_batches` is into how many parts each batch is split, whose gradients are added up. `expected_seconds` is the
    longest that an epoch of this search has taken so far, None if there was none.
    """

    trial_id: str
    epochs: int = 0
    micro_batches: int = 1
    gpus: float | None = None
    """The share that Ray is asked for; None: that of all trials."""
    expected_seconds: float | None = None
    costs: dict[str, float] = field(default_factory=dict)
    """What is known of the candidate without training it."""
    resample: Resample | None = None
    """On which images and with which seed; None: those of the run."""

    def within(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration for Ray Tune: the parameters, and this."""
        return {**params, KEY: asdict(self)}

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """The assignment in a configuration, and the parameters."""
        params = dict(config)
        values = {**params.pop(KEY)}
        if values.get("resample") is not None:
            values["resample"] = Resample(**values["resample"])
        return cls(**values), params
