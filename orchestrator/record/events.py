"""The events of a run's log. Each is one JSON object on one line of `events.jsonl`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from orchestrator.objectives import Direction
from trainables.epoch_result import SCORES

TrialStatus = Literal["completed", "pruned", "duplicate", "infeasible", "diverged", "failed", "running"]
"""`completed`: trained for its whole budget. `pruned`: stopped by the scheduler. `duplicate`: answered from the record.
`infeasible`: breaks a constraint, never trained. `diverged`: a loss was not finite. `failed`: ended by an error.
`running`: not ended; if the run has ended, a resume goes on with it."""

RunOutcome = Literal["completed", "exhausted", "out_of_time", "interrupted", "failed"]
"""Why a run ended: all its trials ended, the sampler proposed nothing new any more, `budget.hours` was over, the user
stopped it, or an error stopped it."""

TrialId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")]
"""It becomes part of paths; the pattern keeps a manipulated record from pointing outside the run directory."""

ImportedId = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*/)?[A-Za-z0-9_-]+~*$")]
"""The trial's id after the name of its run; with `~` if two runs have the same name."""

SetBackCause = Literal["out_of_memory", "worker_died", "node_died", "preempted"]


def now() -> datetime:
    return datetime.now(UTC)


def finite(value: float) -> float | None:
    """The value; None if it is infinite or not a number, which JSON does not have."""
    return value if math.isfinite(value) else None


class EventBase(BaseModel):
    """A fact on one line of a log; `time` is UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: datetime = Field(default_factory=now)


class RunStarted(EventBase):
    """The search begins; `slots` trials run at a time.

    `objectives` maps metrics to directions, `constraints` metrics to upper bounds. `distributions` has each parameter
    of the space in Optuna's JSON, so that the study can be rebuilt from the log alone.
    """

    event: Literal["run_started"] = "run_started"
    slots: int
    objectives: dict[str, Direction]
    constraints: dict[str, float]
    distributions: dict[str, dict[str, Any]]


class CandidatesQueued(EventBase):
    """Candidates that are proposed next, in this order, before those of the sampler.

    Each candidate fixes some parameters; the sampler chooses the rest. The list replaces what is left of an earlier
    one.
    """

    event: Literal["candidates_queued"] = "candidates_queued"
    params: list[dict[str, Any]]


class TrialSuggested(EventBase):
    """The sampler proposed a candidate, or it was the next one of the queue; asking it took `ask_seconds`.

    `number` is Optuna's. `costs` are known without training the candidate. `trial_attributes` and `study_attributes`
    are what the sampler stored in Optuna while it was asked; it may read them later.
    """

    event: Literal["trial_suggested"] = "trial_suggested"
    trial_id: TrialId
    number: int
    params: dict[str, Any]
    architecture: dict[str, Any]
    fingerprint: str
    costs: dict[str, float]
    trial_attributes: dict[str, Any] = {}
    study_attributes: dict[str, Any] = {}
    ask_seconds: float


class TrialStarted(EventBase):
    """A worker begins to train the candidate, for the `attempt`-th time."""

    event: Literal["trial_started"] = "trial_started"
    trial_id: str
    attempt: int


class TrialBuilt(EventBase):
    """The worker built the network on this node and device; the latency is None if it is not to be measured."""

    event: Literal["trial_built"] = "trial_built"
    trial_id: str
    latency_seconds: float | None = None
    node: str
    device: str


class EpochFields(BaseModel):
    """What is recorded of an epoch, of a trial or of a retraining: the numbers of an `EpochResult`.

    The `ended_at` of the `EpochResult` is the event's `time`, and a column `ended_at` of the table. The metrics of the
    user's trainable are a field of the event.

    The events, the columns of `epochs.parquet` and the conversions from and to an `EpochResult` take names, order and
    types from here. A number that is not finite is None.
    """

    model_config = ConfigDict(frozen=True)

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float


def epoch_values(result: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `EpochFields` in an `EpochResult`, which is given as a dictionary."""
    return {name: finite(result[name]) for name in EpochFields.model_fields}


class _EpochOfTrial(EventBase):
    """Exists only for the order of the fields: `event` and `trial_id` come before the epoch's in a line of the log."""

    event: Literal["epoch_done"] = "epoch_done"
    trial_id: str


class EpochDone(EpochFields, _EpochOfTrial):
    """One epoch of one trial. `time` is when the worker ended it, but no later than the driver received it.

    `metrics` are the further metrics of a trainable of the user's own; a value that is not finite is null.
    """

    metrics: dict[str, float | None] = {}

    def model_post_init(self, context: Any) -> None:
        """Share one set of field names: pydantic's own, one for each epoch, would be half of an epoch's memory."""
        object.__setattr__(self, "__pydantic_fields_set__", FIELDS_SET)

    @property
    def diverged(self) -> bool:
        """Whether a loss, an accuracy, or a metric of the trainable's own is not finite."""
        return any(getattr(self, name) is None for name in SCORES) or None in self.metrics.values()

    def metric(self, name: str) -> float | None:
        """The value of a metric; None if the epoch has none of that name, or it is not finite."""
        return self.metrics[name] if name in self.metrics else getattr(self, name, None)


FIELDS_SET = set(EpochDone.model_fields)


class RunResumed(EventBase):
    """The search goes on; `slots` trials run at a time. Trials that have not ended wait for a worker again."""

    event: Literal["run_resumed"] = "run_resumed"
    slots: int


class TrialImported(EventBase):
    """A trial of another run, on record here from the start. The sampler knows it, and it answers its duplicates."""

    event: Literal["trial_imported"] = "trial_imported"
    trial_id: ImportedId
    params: dict[str, Any]
    architecture: dict[str, Any]
    fingerprint: str
    costs: dict[str, float]
    latency_seconds: float | None
    status: TrialStatus
    curve: list[EpochDone]


class EvaluatedCandidate(BaseModel):
    """A candidate of an evaluation: one of the best of the search, the best of the random sample, or both.

    `trial_id` is its trial in the search, `random_id` the one in the random sample; at least one of them is not None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial_id: TrialId | None
    random_id: TrialId | None = None
    params: dict[str, Any]
    architecture: dict[str, Any]
    fingerprint: str
    costs: dict[str, float]

    @property
    def name(self) -> str:
        """Its trial in the search; else `random/` followed by its trial in the random sample."""
        return self.trial_id if self.trial_id is not None else f"random/{self.random_id}"


class EvaluationPlanned(EventBase):
    """The trials of an evaluation: each candidate is trained once for each of the `folds` of each seed.

    They are numbered from 0, by seed, then by fold, then by candidate. So an evaluation that ends early has trainings
    of the same seeds and folds for all candidates.
    """

    event: Literal["evaluation_planned"] = "evaluation_planned"
    candidates: list[EvaluatedCandidate]
    folds: int
    seeds: list[int]


class ConfirmationPlanned(EventBase):
    """The search has no trial to train any more; the best of its candidates are trained again.

    `candidates` are their trials, best first by the estimate of their true score; `limit` is the maximum number of
    them that was set. Each is trained again up to `trainings` times, all together for at most `train_seconds`. `noise`
    is the standard deviation of one training's score, by which the estimates were made; None if it is unknown.
    `trained` is the number of trials that the search had trained.
    """

    event: Literal["confirmation_planned"] = "confirmation_planned"
    candidates: list[TrialId]
    limit: int | None
    trainings: int
    train_seconds: float
    trained: int
    noise: float | None
    noise_from: Literal["repeats", "validation_images"] | None


class TrialRepeated(EventBase):
    """The candidate of trial `repeats` is trained again, with another seed, in the new trial `trial_id`."""

    event: Literal["trial_repeated"] = "trial_repeated"
    trial_id: TrialId
    repeats: TrialId
    seed: int
    split: Literal["fresh", "search"]


class ConfirmedScore(BaseModel):
    """The value of one objective of a confirmed candidate.

    `mean` is that of its new trainings. `estimate` is the expected true value and `interval` holds it with a
    probability of 95 %; both take into account that the best of several was chosen. `interval` is None for a value
    that does not depend on training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    estimate: float
    interval: tuple[float, float] | None


class ConfirmedCandidate(BaseModel):
    """A candidate of a confirmation, by its trial in the search.

    `chance` is the probability that it is the best one, or with several objectives that no other dominates it.
    `in_doubt`: it cannot be distinguished from the best, or from the members of the front. `problem`: why it is out,
    if a new training diverged or failed; it then has no scores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial_id: TrialId
    trainings: int
    scores: dict[str, ConfirmedScore] = {}
    chance: float = 0.0
    in_doubt: bool = False
    on_front: bool = False
    problem: str | None = None


class CandidatesCompared(EventBase):
    """What the new trainings say so far about the candidates, best first; the winner is the first.

    `trained` is the number of trials that the search had trained. With more of them, the comparison is out of date.
    """

    event: Literal["candidates_compared"] = "candidates_compared"
    candidates: list[ConfirmedCandidate]
    trained: int

    @property
    def winner(self) -> ConfirmedCandidate:
        return self.candidates[0]

    @property
    def rivals(self) -> list[ConfirmedCandidate]:
        """The other candidates that cannot be distinguished from the winner."""
        return [candidate for candidate in self.candidates[1:] if candidate.in_doubt]


class TrialPaused(EventBase):
    """The scheduler took the trial off its worker; it may go on from its checkpoint (`TrialStarted`)."""

    event: Literal["trial_paused"] = "trial_paused"
    trial_id: str


class TrialSetBack(EventBase):
    """The trial lost its worker, for this `reason`; it is to go on from its last checkpoint.

    `out_of_memory`: it goes on with each batch split into `micro_batches`, and with a share of `gpus` if that differs
    from the share of all trials. `node_died`: the worker was lost with its node. `preempted`: the node was taken away
    after a notice.
    """

    event: Literal["trial_set_back"] = "trial_set_back"
    trial_id: str
    cause: SetBackCause
    reason: str
    micro_batches: int = 1
    gpus: float | None = None


class TrialEnded(EventBase):
    """The trial has ended. `error` says why it failed, `duplicate_of` names the trial that answered it."""

    event: Literal["trial_ended"] = "trial_ended"
    trial_id: str
    status: TrialStatus
    error: str | None = None
    duplicate_of: str | None = None


class RunEnded(EventBase):
    """The search has ended; `reason` says why it failed or was exhausted, and is None for other outcomes."""

    event: Literal["run_ended"] = "run_ended"
    outcome: RunOutcome
    reason: str | None = None


Event = (
    RunStarted
    | RunResumed
    | TrialImported
    | EvaluationPlanned
    | ConfirmationPlanned
    | TrialRepeated
    | CandidatesCompared
    | CandidatesQueued
    | TrialSuggested
    | TrialStarted
    | TrialBuilt
    | EpochDone
    | TrialPaused
    | TrialSetBack
    | TrialEnded
    | RunEnded
)

EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
