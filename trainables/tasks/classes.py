"""The loss and the score of networks that give each example one of several classes. Imports torch when it is called."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from trainables.settings import TrainingSettings
from trainables.tasks.score import Score

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, settings: TrainingSettings) -> Tensor:
    """The mean cross-entropy of a batch of logits [n, classes]; labels are [n], or probabilities [n, classes]."""
    import torch.nn.functional as F

    weights = weights_of(settings, logits.device)
    return F.cross_entropy(logits, labels, weight=weights, label_smoothing=settings.label_smoothing)


def weights_of(settings: TrainingSettings, device: torch.device) -> Tensor | None:
    """The weights of the classes, on the device; None if all are 1."""
    return None if settings.class_weights is None else _on(device, tuple(settings.class_weights))


@functools.cache
def _on(device: torch.device, weights: tuple[float, ...]) -> Tensor:
    """The class weights as a tensor; cached because a CUDA graph cannot copy from the host."""
    import torch

    return torch.tensor(weights, device=device)


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum of the cross-entropy over a batch, without weights or label smoothing."""
    import torch.nn.functional as F

    return F.cross_entropy(logits, labels, reduction="sum")


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    most = labels if labels.ndim == 1 else labels.argmax(dim=1)
    return (logits.argmax(dim=1) == most).sum()


ACCURACY = Score(
    name="accuracy",
    shape=lambda outputs: (),
    sums=_hits,
    value=lambda hits, examples: hits.item() / examples,
    is_share=True,
)
