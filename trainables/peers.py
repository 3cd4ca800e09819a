"""Data-parallel training: several processes train one network, each on its part of every batch, with the same weights.

Knows torch's process groups; does not know how the processes are started. No Ray.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Peers:
    """This process and the number of processes that train together; with one, nothing is distributed.

    The gradient of a step is that of the whole batch, except that a loss with class weights or ignored pixels is a mean
    over each part by itself. Each process's batch norms see only its part of the batch; the running statistics are
    those of the first process.
    """

    rank: int = 0
    """Number of this process; the first is 0."""
    count: int = 1
    """Number of processes."""

    @classmethod
    def from_process_group(cls) -> Peers:
        """Rank and size of torch's default process group."""
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def check_batch(self, images: int) -> None:
        """Check that a batch can be divided evenly among the processes.

        Raises:
            ValueError: it cannot.
        """
        if images % self.count:
            raise ValueError(
                f"a batch of {images} images cannot be divided evenly among {self.count} processes "
                "(training.batch_size, --workers)"
            )

    def wrap(self, module: nn.Module) -> nn.Module:
        """Wrap the module so that its gradients are averaged over all processes."""
        if self.count == 1:
            return module
        # A cell may leave an input, and so its weights, unused; static, because they are the same ones in every step.
        # Only what is scored needs the first process's running statistics: `share` copies them once an epoch.
        return DistributedDataParallel(module, static_graph=True, broadcast_buffers=False)

    def part(self, batch: Tensor) -> Tensor:
        """This process's part of a batch, along the first axis."""
        return batch.chunk(self.count)[self.rank]

    def portion(self, values: Tensor) -> Tensor:
        """This process's part of values that need not be divided evenly, along the first axis."""
        return values.tensor_split(self.count)[self.rank]

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Copy the first process's tensors to all others, in place."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def sum(self, values: Tensor) -> Tensor:
        """Sum the values over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def broadcast(self, values: Sequence[float], device: torch.device) -> list[float]:
        """The first process's values, so that all processes decide alike; every process passes as many values."""
        if self.count == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=device)
        dist.broadcast(shared, src=0)
        return shared.tolist()


SINGLE_PROCESS = Peers()
"""The only process of a training."""
