"""What can end the training of one candidate, said in plain values so that the driver needs no torch to read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, final

FaultKind = Literal["error", "out_of_memory", "storage", "preempted"]
"""`error`: an exception. `out_of_memory`: of the GPU, or an allocation on the host that failed. `storage`: a checkpoint
could not be written or read. `preempted`: the node is about to go."""

OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "status_alloc_failed",
    "cublas_status_not_initialized",
    "cudnn_status_not_initialized",
    "unable to find an engine to execute",
)
"""What PyTorch and its libraries say, for they raise plain RuntimeErrors too. The last four are cuBLAS' and cuDNN's on
a GPU whose memory others hold; if they should mean something else, the trial is tried once more in vain."""


@final
class CandidateFault(Exception):  # noqa: N818 (not always an error)
    """Raised by a worker; `reason` is one line."""

    def __init__(self, kind: FaultKind, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


@contextmanager
def faults_told() -> Iterator[None]:
    """Whatever is raised within, as a `CandidateFault`."""
    try:
        yield
    except CandidateFault:
        raise
    except Exception as error:
        kind: FaultKind = "out_of_memory" if _is_out_of_memory(error) else "error"
        raise CandidateFault(kind, describe(error)) from error


@contextmanager
def storage_faults_told(verb: str) -> Iterator[None]:
    """An OSError within, as the fault of the storage where a checkpoint cannot be `read` or `written`."""
    try:
        yield
    except OSError as error:
        raise CandidateFault("storage", f"a checkpoint cannot be {verb}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """Type and first line of an exception."""
    first_line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)
