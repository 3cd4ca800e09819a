"""A concatenation whose gradients are dense on a CPU. Does not know the layers of a network.

The gradients of `torch.cat` along the channels are slices of one tensor, which are dense in no memory layout. The
batch norms before them then take PyTorch's slow path, which takes ten times as long.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def concatenate(parts: list[Tensor]) -> Tensor:
    """Concatenate images or sequences along the channels, like `torch.cat(parts, dim=1)`."""
    # `torch.compile` chooses memory layouts itself, and a GPU reads slices as fast as anything else.
    if parts[0].device.type != "cpu" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.cat(parts, dim=1)
    joined: Tensor = _Concatenation.apply(*parts)
    return joined


class _Concatenation(torch.autograd.Function):
    """`torch.cat` along the channels; each gradient is a copy in the memory layout of the result."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        joined = torch.cat(parts, dim=1)
        is_last = joined.dim() == 4 and joined.is_contiguous(memory_format=torch.channels_last)
        ctx.layout = torch.channels_last if is_last else torch.contiguous_format
        ctx.channels = [part.shape[1] for part in parts]
        return joined

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.contiguous(memory_format=ctx.layout) for part in gradient.split(ctx.channels, dim=1))
