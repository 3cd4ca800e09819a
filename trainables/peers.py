"""The processes that train one network together: each on its part of every batch, all with the same weights.

Knows torch's process groups; who starts the processes, nothing here knows. No Ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Peers:
    """One of `count` processes, the one with the number `rank`; the first has 0. Of one process nothing is distributed.

    The gradient of a step is that of the whole batch. Batch norms see a process's part of it only; the running
    statistics are those of the first.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def of_process_group(cls) -> Peers:
        """As torch's default process group has it."""
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def check_batch(self, images: int) -> None:
        """ValueError if a batch of so many images cannot be divided evenly."""
        if images % self.count:
            raise ValueError(
                f"a batch has {images} images, which {self.count} processes cannot divide evenly "
                "(training.batch_size, --workers)"
            )

    def joined(self, module: nn.Module) -> nn.Module:
        """The module, whose gradients are then averaged over all processes."""
        if self.count == 1:
            return module
        # A cell may leave an input unread, and with it weights; which ones is the same in every step.
        return DistributedDataParallel(module, static_graph=True)

    def part(self, batch: Tensor) -> Tensor:
        """This process's share of a batch, along the first axis."""
        return batch.chunk(self.count)[self.rank]

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def as_first(self, values: Sequence[float], device: torch.device) -> list[float]:
        """What the first process says, so that all decide alike."""
        if self.count == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64, device=device)
        dist.broadcast(told, src=0)
        return told.tolist()


ALONE = Peers()
"""A process that trains by itself."""
