"""Faults that end a training or a rehearsal, as plain values that the driver can read without torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, final

from trainables.settings import printable

FaultKind = Literal["error", "out_of_memory", "storage", "preempted"]
"""`error`: an exception. `out_of_memory`: the GPU's memory ran out, or an allocation on the host failed. `storage`: a
checkpoint could not be written or read. `preempted`: the node is about to be removed."""

OUT_OF_MEMORY_PHRASES = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "status_alloc_failed",
    "cublas_status_not_initialized",
    "cudnn_status_not_initialized",
    "unable to find an engine to execute",
)
"""Lower-case phrases in RuntimeErrors of PyTorch and its libraries that mean out of memory.

cuBLAS and cuDNN raise the last four on a GPU whose memory other processes hold. If they have another cause, the only
cost is one retry that fails too.
"""


@final
class CandidateFault(Exception):  # noqa: N818 (not always an error)
    """A fault in a worker; `reason` is one line."""

    def __init__(self, kind: FaultKind, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


@final
class PartError(ValueError):
    """A part of the user's own is wrong; the message is one line that names it."""


@contextmanager
def wrap_faults() -> Iterator[None]:
    """Reraise any exception of the block as a `CandidateFault`."""
    try:
        yield
    except CandidateFault:
        raise
    except Exception as error:
        kind: FaultKind = "out_of_memory" if _is_out_of_memory(error) else "error"
        raise CandidateFault(kind, describe(error)) from error


@contextmanager
def wrap_storage_faults(verb: Literal["read", "written"]) -> Iterator[None]:
    """Reraise an OSError of the block as a storage fault: a checkpoint cannot be `verb`."""
    try:
        yield
    except OSError as error:
        raise CandidateFault("storage", f"a checkpoint cannot be {verb}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """An exception's type and the first line of its message, which may have a file name that is not UTF-8."""
    first_line = printable(next(iter(str(error).strip().splitlines()), ""))
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY_PHRASES)
