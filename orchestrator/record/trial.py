"""A trial as its events describe it, and the events that begin one. Does not know the other trials of its run."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestrator.record.events import (
    EpochDone,
    EvaluationPlanned,
    SetBackCause,
    TrialImported,
    TrialRepeated,
    TrialSetBack,
    TrialStatus,
    TrialSuggested,
)
from orchestrator.words import counted
from trainables.assignment import Resample

TRIAL_DIGITS = 5
"""The fewest digits of a trial's name."""


@dataclass(slots=True)
class Trial:
    """A trial, as its events describe it. Times are UTC by the driver's clock; those in `curve` by the worker's."""

    trial_id: str
    number: int
    """Optuna's number of the trial."""
    params: dict[str, Any]
    architecture: dict[str, Any]
    fingerprint: str
    costs: dict[str, float]
    """Parameters, multiply-adds and activation bytes, known without training; empty if no network can be made."""
    suggested_at: datetime
    attributes: dict[str, Any] = field(default_factory=dict)
    """What the sampler stored with the trial when it was asked."""
    ask_seconds: float = 0.0
    status: TrialStatus = "running"
    """`running` until it has ended, also while it only waits; `status_of` tells these apart."""
    latency_seconds: float | None = None
    curve: list[EpochDone] = field(default_factory=list)
    started_at: datetime | None = None
    ended_at: datetime | None = None
    end_place: int | None = None
    """How many trials ended or paused before it ended, imported ones included; it does not depend on a clock."""
    pause_place: int | None = None
    """How many trials ended or paused before its last pause; None if it never paused."""
    node: str | None = None
    device: str | None = None
    resample: Resample | None = None
    """The seed and the split of a further training of a candidate, in an evaluation or a confirmation; else None."""
    repeats: str | None = None
    """In a confirmation, the trial of the search whose candidate is trained again."""
    attempt: int = 0
    """How often a worker has started it; 0 if none has."""
    on_worker: bool = False
    paused: bool = False
    """Whether the scheduler took it off its worker; it may go on later."""
    micro_batches: int = 1
    """The number of parts into which each batch is split; more than 1 after the memory ran out."""
    gpus: float | None = None
    """Its share of GPUs, if the memory ran out and it therefore differs from that of all trials."""
    set_back: list[TrialSetBack] = field(default_factory=list)
    setbacks_in_a_row: Counter[SetBackCause] = field(default_factory=Counter)
    """Times that each cause has set it back since its last epoch."""
    error: str | None = None
    duplicate_of: str | None = None
    """The trial whose result answered this one; `curve` is that trial's."""

    def __repr__(self) -> str:
        score = "" if self.val_accuracy is None else f", val_accuracy {self.val_accuracy:.4f}"
        return f"<Trial {self.trial_id}: {self.status}, {counted(self.epochs, 'epoch')}{score}>"

    def metric(self, name: str) -> float | None:
        """The value of a metric: of the candidate itself, or at its last epoch. None if it is unknown."""
        if name in self.costs:
            return self.costs[name]
        if name == "latency_seconds":
            return self.latency_seconds
        return self.curve[-1].metric(name) if self.curve else None

    def rows(self) -> list[dict[str, Any]]:
        """The curve as a scheduler received it: each epoch with all its metrics and those of the candidate itself."""
        latency = {} if self.latency_seconds is None else {"latency_seconds": self.latency_seconds}
        return [
            {
                **row.model_dump(exclude={"metrics"}),
                "diverged": row.diverged,
                **row.metrics,
                **self.costs,
                **latency,
            }
            for row in self.curve
        ]

    @property
    def was_started(self) -> bool:
        """Whether a worker has ever started it; else it is only proposed."""
        return self.attempt > 0

    @property
    def parameters(self) -> int | None:
        return int(self.costs["parameters"]) if self.costs else None

    @property
    def macs(self) -> int | None:
        return int(self.costs["macs"]) if self.costs else None

    @property
    def epochs(self) -> int:
        return self.curve[-1].epoch if self.curve else 0

    @property
    def last_metrics(self) -> dict[str, float | None]:
        """The metrics of the trainable's own, at the last epoch."""
        return dict(self.curve[-1].metrics) if self.curve else {}

    @property
    def diverged(self) -> bool:
        """Whether a score of the last epoch is not finite."""
        return bool(self.curve) and self.curve[-1].diverged

    @property
    def val_accuracy(self) -> float | None:
        """Validation accuracy of the last epoch, by which trials are compared."""
        return self.curve[-1].val_accuracy if self.curve else None

    @property
    def best_val_accuracy(self) -> float | None:
        return max((row.val_accuracy for row in self.curve if row.val_accuracy is not None), default=None)

    @property
    def train_seconds(self) -> float:
        """Seconds of training; 0 for a duplicate."""
        return 0.0 if self.duplicate_of is not None else sum(row.seconds for row in self.curve)

    @property
    def wall_seconds(self) -> float | None:
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


def suggested_trial(event: TrialSuggested) -> Trial:
    return Trial(
        trial_id=event.trial_id,
        number=event.number,
        params=event.params,
        architecture=event.architecture,
        fingerprint=event.fingerprint,
        costs=event.costs,
        suggested_at=event.time,
        attributes=event.trial_attributes,
        ask_seconds=event.ask_seconds,
    )


def trial_id_of(place: int) -> str:
    """The name of a trial by its place, from 0, among the trials of a search or an evaluation."""
    return f"{place:0{TRIAL_DIGITS}d}"


def repeated_trial(event: TrialRepeated, original: Trial) -> Trial:
    return Trial(
        trial_id=event.trial_id,
        number=original.number,
        params=original.params,
        architecture=original.architecture,
        fingerprint=original.fingerprint,
        costs=original.costs,
        suggested_at=event.time,
        resample=Resample(seed=event.seed, split=event.split),
        repeats=original.trial_id,
    )


def planned_trials(event: EvaluationPlanned) -> list[Trial]:
    trainings = itertools.product(event.seeds, range(event.folds), event.candidates)
    return [
        Trial(
            trial_id=trial_id_of(number),
            number=number,
            params=candidate.params,
            architecture=candidate.architecture,
            fingerprint=candidate.fingerprint,
            costs=candidate.costs,
            suggested_at=event.time,
            resample=Resample(seed=seed, split="fold", folds=event.folds, fold=fold),
        )
        for number, (seed, fold, candidate) in enumerate(trainings)
    ]


def imported_trial(event: TrialImported, number: int) -> Trial:
    return Trial(
        trial_id=event.trial_id,
        number=number,
        params=event.params,
        architecture=event.architecture,
        fingerprint=event.fingerprint,
        costs=event.costs,
        suggested_at=event.time,
        status=event.status,
        latency_seconds=event.latency_seconds,
        curve=event.curve,
        ended_at=event.time,
    )
