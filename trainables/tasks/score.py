"""How well a network does, as a value: sums that batches add to, and a function of the sums. No torch.

A score need not be a mean over examples. The mean intersection over union divides sums over all pixels of all images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score, 0..1; the higher the better. The record calls it `train_accuracy` and `val_accuracy`."""

    name: str
    """What it is, in words: `accuracy`, `mean intersection over union`."""
    shape: Callable[[int], tuple[int, ...]]
    """The shape of the sums, given the number of the network's outputs."""
    sums: Callable[[Tensor, Tensor], Tensor]
    """The sums over a batch, of its outputs [n, outputs, ...] and answers. They are added up in float64, over batches
    and processes. For a CUDA graph, nothing in it may wait for the device."""
    value: Callable[[Tensor, int], float]
    """The score, given the sums over all examples and the number of examples, at least 1."""
    by_class: Callable[[Tensor], list[float | None]] | None = None
    """The score of each class, given the sums; None for a class that occurs nowhere. Unset: there is none."""
    is_share: bool = False
    """Whether it is the share of the examples that are right. Its standard error then follows from their number."""

    def of_arrays(self, outputs: NDArray[Any], answers: NDArray[Any]) -> float:
        """The score of outputs [n, outputs, ...] and the answers of at least one example."""
        import torch

        whole = answers if answers.dtype.kind == "f" else answers.astype(np.int64)
        sums = self.sums(torch.from_numpy(outputs), torch.from_numpy(whole))
        return self.value(sums.double(), len(answers))

    def facts(self) -> Mapping[str, object]:
        """What a record says of it."""
        return {"name": self.name, "is_share": self.is_share}
