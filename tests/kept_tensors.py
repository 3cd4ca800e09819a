"""The memory that autograd keeps of a forward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.network import CellNetwork


def kept_for_backward(network: CellNetwork, images: Tensor) -> int:
    """Bytes that autograd keeps, except weights, running statistics and the moments of the batch."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tensor.ndim > 1:
            kept[storage.data_ptr()] = storage  # kept alive, so that no other storage gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits, auxiliary = network.all_logits(images)
        total = logits.sum() + (auxiliary.sum() if auxiliary is not None else 0)
        assert total.requires_grad  # keeps the graph and its tensors alive up to here
    return sum(storage.nbytes() for storage in kept.values())
