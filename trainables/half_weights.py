"""Copies of a network's weights in 16 bits, made in one go. Autocast would convert each weight by itself."""

from __future__ import annotations

import torch
from torch import nn


class HalfWeights:
    """The weights of convolutions and linear layers in 16 bits, as leaves that collect their own gradients.

    Args:
        module: the module whose float32 weights are copied. An optimiser updates these, not the copies.
        dtype: bfloat16 or float16.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self._masters = {name: weight for name, weight in module.named_parameters() if weight.ndim > 1}
        self._gradients = {name: torch.zeros_like(weight) for name, weight in self._masters.items()}
        self.copies = {name: weight.detach().to(dtype) for name, weight in self._masters.items()}
        for name, weight in self._masters.items():
            self.copies[name].requires_grad_(weight.requires_grad)

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the weights, and drop the gradients of the copies."""
        torch._foreach_copy_(list(self.copies.values()), list(self._masters.values()))
        for copy in self.copies.values():
            copy.grad = None

    @torch.no_grad()
    def return_gradients(self) -> None:
        """Give the gradients of the copies to the float32 weights; a weight that was not used gets none."""
        used = {name: copy.grad for name, copy in self.copies.items() if copy.grad is not None}
        for name, weight in self._masters.items():
            weight.grad = self._gradients[name] if name in used else None
        if used:
            torch._foreach_copy_([self._gradients[name] for name in used], list(used.values()))
