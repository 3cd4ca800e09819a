"""Memory given back between two candidates of one worker."""

from __future__ import annotations

import ctypes
import gc
import sys

import torch


def release_memory(device: torch.device) -> None:
    """Return what the last candidate held to the device and to the operating system.

    Without it, a worker that is reused grows: networks hold reference cycles until the next collection, PyTorch keeps
    freed GPU blocks, and glibc keeps freed pages that candidates of other shapes do not fit into.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if trim is not None:
            trim(0)
