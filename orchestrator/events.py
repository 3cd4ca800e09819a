"""The facts that a run's event log is made of. Each is one JSON object on one line of `events.jsonl`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

TrialStatus = Literal["completed", "pruned", "duplicate", "infeasible", "diverged", "failed", "running"]
"""`completed`: had its whole budget. `pruned`: stopped by the scheduler. `duplicate`: answered from the record.
`infeasible`: broke a constraint, never trained. `diverged`: a loss was not finite. `failed`: ended by an error.
`running`: not ended; in a run that has ended, it is what a resume goes on with."""

RunOutcome = Literal["completed", "out_of_time", "interrupted", "failed"]
"""Why a run ended: all its trials ended, `budget.hours` was over, the user stopped it, or an error did."""


def now() -> datetime:
    return datetime.now(UTC)


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    time: datetime = Field(default_factory=now)


class RunStarted(_Event):
    """The search begins, on `slots` trials at a time."""

    event: Literal["run_started"] = "run_started"
    slots: int


class TrialSuggested(_Event):
    """The sampler proposed a candidate; asking it took `ask_seconds`."""

    event: Literal["trial_suggested"] = "trial_suggested"
    trial_id: str
    architecture: dict[str, Any]
    fingerprint: str
    ask_seconds: float


class TrialStarted(_Event):
    """A worker begins with the candidate, for the `attempt`-th time."""

    event: Literal["trial_started"] = "trial_started"
    trial_id: str
    attempt: int


class TrialBuilt(_Event):
    """The worker built the network, and says what it costs and where it is trained."""

    event: Literal["trial_built"] = "trial_built"
    trial_id: str
    parameters: int
    macs: int
    latency_seconds: float | None = None
    node: str
    device: str


class EpochDone(_Event):
    """One epoch of one trial. `time` is the worker's; a loss that is not finite is null."""

    event: Literal["epoch_done"] = "epoch_done"
    trial_id: str
    epoch: int
    train_loss: float | None
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float


class TrialEnded(_Event):
    """The trial is over; `error` says why where it did not end well."""

    event: Literal["trial_ended"] = "trial_ended"
    trial_id: str
    status: TrialStatus
    error: str | None = None


class RunEnded(_Event):
    """The search is over."""

    event: Literal["run_ended"] = "run_ended"
    outcome: RunOutcome


Event = RunStarted | TrialSuggested | TrialStarted | TrialBuilt | EpochDone | TrialEnded | RunEnded

EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
