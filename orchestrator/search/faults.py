"""Decides whether a trial that lost its worker is set back or has failed.

Knows Ray's exceptions and the recorded trial. Does not write the record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ray.exceptions import ActorUnavailableError, RayActorError

from orchestrator.record import SetBackCause, Trial, TrialEnded, TrialSetBack
from trainables.faults import CandidateFault, FaultKind, describe

MAX_WORKER_DEATHS = 3
"""A trial fails when its worker has died this often without an epoch in between: the trial may be the cause."""

MAX_NODE_DEATHS = 10
"""The same for its node. Higher, because spot machines die without the trial being the cause."""

MICRO_BATCHES = 4
"""The number of parts into which each batch is split after the memory ran out."""

MAX_FAILURES_IN_A_ROW = 10
"""The search stops after this many failed trials without an epoch in between, or one per slot if that is more."""

OUT_OF_MEMORY = re.compile("out.of.memory|low on memory", re.IGNORECASE)
"""Matches Ray's message for a worker that Ray or the kernel ended because the node's memory ran out."""

RAY_ERROR = "ray.exceptions."
"""Part of the reason if a worker could not begin because of Ray, not because of its own code."""

NODE_DIED = "its node has died"
"""Part of Ray's message for a worker that was lost with its node."""


@dataclass(frozen=True)
class Fault:
    """Why a trial lost its worker, in one line."""

    kind: FaultKind | Literal["worker_died", "node_died", "hang"]
    reason: str


def fault_of(error: BaseException, silent_seconds: float, hang_limit: float) -> Fault:
    """Return the fault that an exception of Ray in the driver stands for.

    Args:
        error: the exception that Ray Tune caught.
        silent_seconds: seconds since the trial's last report.
        hang_limit: seconds without an epoch after which a worker ends itself.
    """
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, CandidateFault):
        return Fault(cause.kind, cause.reason)
    if not isinstance(error, RayActorError):
        return Fault("error", describe(cause))
    if error.preempted:
        return Fault("preempted", "its node was taken away")
    if OUT_OF_MEMORY.search(str(error)):
        return Fault("out_of_memory", "the node's memory ran out, and its worker was ended")
    if error.actor_init_failed and RAY_ERROR not in (reason := _death_reason(error)):
        return Fault("error", reason)  # it would come again at every attempt
    # An unreachable worker means an unreachable node: if only the worker dies, its node reports the death.
    if isinstance(error, ActorUnavailableError) or NODE_DIED in str(error):
        return Fault("node_died", f"its node died: {_death_reason(error)}")
    if silent_seconds >= hang_limit:
        return Fault("hang", f"it hung: no epoch within {hang_limit:.0f} s (faults.hang_factor, faults.hang_seconds)")
    return Fault("worker_died", f"its worker died: {_death_reason(error)}")


def decide(trial: Trial, fault: Fault, *, gpus_per_trial: float, batch_size: int) -> TrialSetBack | TrialEnded:
    """Return the event to record: the trial is set back and continues, or it has failed.

    Args:
        trial: the recorded trial.
        fault: why it lost its worker.
        gpus_per_trial: the share of a GPU that each trial has by default.
        batch_size: images per batch of the training.
    """
    reason = fault.reason
    match fault.kind:
        case "preempted":
            return _set_back(trial, fault.kind, reason)
        case "worker_died" | "node_died":
            what, limit = ("worker", MAX_WORKER_DEATHS) if fault.kind == "worker_died" else ("node", MAX_NODE_DEATHS)
            if trial.setbacks_in_a_row[fault.kind] + 1 < limit:
                return _set_back(trial, fault.kind, reason)
            reason = f"its {what} died {limit} times without an epoch in between; the last time, {reason}"
        case "out_of_memory":
            event = _set_back_with_more_memory(
                trial, reason=reason, gpus_per_trial=gpus_per_trial, batch_size=batch_size
            )
            if event is not None:
                return event
            reason = f"{reason} (resources.gpus_per_trial or training.batch_size)"
    return TrialEnded(trial_id=trial.trial_id, status="failed", error=reason)


def _set_back(trial: Trial, cause: SetBackCause, reason: str) -> TrialSetBack:
    """Set the trial back with the resources that it had."""
    return TrialSetBack(
        trial_id=trial.trial_id, cause=cause, reason=reason, micro_batches=trial.micro_batches, gpus=trial.gpus
    )


def _set_back_with_more_memory(
    trial: Trial, *, reason: str, gpus_per_trial: float, batch_size: int
) -> TrialSetBack | None:
    """Set the trial back with smaller parts of each batch; the next time with twice its share of a GPU that is shared.

    Returns None if neither is left. A part has at least two images.
    """
    parts, gpus = trial.micro_batches, trial.gpus
    smaller = min(MICRO_BATCHES, batch_size // 2)
    if parts < smaller:
        parts = smaller
    elif 0 < gpus_per_trial < 1 and (gpus or 0.0) <= gpus_per_trial:  # its own share may be from before a resume
        gpus = min(1.0, 2 * gpus_per_trial)
    else:
        return None
    return TrialSetBack(trial_id=trial.trial_id, cause="out_of_memory", reason=reason, micro_batches=parts, gpus=gpus)


def _death_reason(error: RayActorError) -> str:
    """Return the line of Ray's long message that gives the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith(("The actor is dead because", "The actor died because"))]
    if reasons and "creation task" in reasons[0]:  # followed by a traceback, whose last line is the error
        return f"it could not begin: {lines[-1]}"
    return (reasons or lines or [type(error).__name__])[-1]
