"""What is done about a trial that lost its worker: it is put back, or has failed.

Knows what Ray raises and what the record says of the trial. Does not know who records it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ray.exceptions import ActorUnavailableError, RayActorError

from orchestrator.record import SetBackCause, Trial, TrialEnded, TrialSetBack
from trainables.faults import CandidateFault, FaultKind, describe

WORKER_DEATHS = 3
"""A trial whose worker dies so often without an epoch in between has failed: it may well be the reason."""

NODE_DEATHS = 10
"""The same of its node, which spot machines do without being to blame."""

MICRO_BATCHES = 4
"""Into how many parts each batch is split once the memory ran out."""

FAILURES_IN_A_ROW = 10
"""After so many failed trials, or as many as there are slots, and not one epoch in between, the search is given up."""

OUT_OF_MEMORY = re.compile("out.of.memory|low on memory", re.IGNORECASE)
"""What Ray says of a worker that it, or the kernel, ended because the node's memory ran out."""

NODE_DIED = "its node has died"
"""What Ray says of a worker that it lost with the node."""


@dataclass(frozen=True)
class Fault:
    """Why a trial lost its worker, in one line."""

    kind: FaultKind | Literal["worker_died", "node_died", "hang"]
    reason: str


def fault_of(error: BaseException, silent_seconds: float, hang_limit: float) -> Fault:
    """What an exception that Ray raised in the driver says.

    Args:
        error: as Ray Tune has it.
        silent_seconds: how long the trial had not been heard of.
        hang_limit: the time after which its process ends itself.
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
    # Who cannot be reached is on a node that cannot: the death of a worker alone is told by its node.
    if isinstance(error, ActorUnavailableError) or NODE_DIED in str(error):
        return Fault("node_died", f"its node died: {_why(error)}")
    if silent_seconds >= hang_limit:
        return Fault("hang", f"it hung: no epoch within {hang_limit:.0f} s (faults.hang_factor, faults.hang_seconds)")
    return Fault("worker_died", f"its worker died: {_why(error)}")


def answer(trial: Trial, fault: Fault, *, gpus_per_trial: float, batch_size: int) -> TrialSetBack | TrialEnded:
    """What becomes of the trial.

    Args:
        trial: as the record has it.
        fault: what happened to it.
        gpus_per_trial: the share of all trials.
        batch_size: of the training.
    """
    reason = fault.reason
    match fault.kind:
        case "preempted":
            return _again(trial, fault.kind, reason)
        case "worker_died" | "node_died":
            what, most = ("worker", WORKER_DEATHS) if fault.kind == "worker_died" else ("node", NODE_DEATHS)
            if trial.setbacks_in_a_row[fault.kind] + 1 < most:
                return _again(trial, fault.kind, reason)
            reason = f"its {what} died {most} times without an epoch in between; the last time, {reason}"
        case "out_of_memory":
            if not any(event.cause == "out_of_memory" for event in trial.set_back):
                relief = _relief(trial, reason, gpus_per_trial, batch_size)
                if relief is not None:
                    return relief
            reason = f"{reason} (resources.gpus_per_trial or training.batch_size)"
    return TrialEnded(trial_id=trial.trial_id, status="failed", error=reason)


def _again(trial: Trial, cause: SetBackCause, reason: str) -> TrialSetBack:
    """As it was before."""
    return TrialSetBack(
        trial_id=trial.trial_id, cause=cause, reason=reason, micro_batches=trial.micro_batches, gpus=trial.gpus
    )


def _relief(trial: Trial, reason: str, gpus_per_trial: float, batch_size: int) -> TrialSetBack | None:
    """More memory: twice the share of a GPU where it is shared, else batches in parts of at least two images."""
    if 0 < gpus_per_trial < 1:
        gpus = min(1.0, 2 * gpus_per_trial)
        return TrialSetBack(trial_id=trial.trial_id, cause="out_of_memory", reason=reason, gpus=gpus)
    parts = min(MICRO_BATCHES, batch_size // 2)
    if parts < 2:
        return None
    return TrialSetBack(trial_id=trial.trial_id, cause="out_of_memory", reason=reason, micro_batches=parts)


def _why(error: RayActorError) -> str:
    """The one line of Ray's page of text that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("The actor is dead because", "The actor died because"))]
    if telling and "creation task" in telling[0]:  # a traceback follows, of which the last line is the error
        return f"it could not begin: {lines[-1]}"
    return (telling or lines or [type(error).__name__])[-1]
