"""The loss and the score of networks that give each pixel one of several classes. Imports torch when it is called.

Masks are [n, height, width]. Pixels of the class `IGNORED` count neither in the loss nor in the score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.image_arrays import IGNORED
from trainables.settings import TrainingSettings
from trainables.tasks.classes import weights_of
from trainables.tasks.score import Score

if TYPE_CHECKING:
    from torch import Tensor


def pixel_cross_entropy(logits: Tensor, masks: Tensor, settings: TrainingSettings) -> Tensor:
    """The mean cross-entropy over all pixels of a batch, weighted by class; 0 if all of them are ignored."""
    import torch.nn.functional as F

    weights = weights_of(settings, logits.device)
    total = F.cross_entropy(
        logits,
        masks,
        weight=weights,
        ignore_index=IGNORED,
        label_smoothing=settings.label_smoothing,
        reduction="sum",
    )
    counted = masks != IGNORED
    share = counted if weights is None else weights[masks.where(counted, 0)] * counted
    return total / share.sum().clamp(min=1e-6)


def pixel_cross_entropy_sum(logits: Tensor, masks: Tensor) -> Tensor:
    """The sum over a batch of the mean cross-entropy of each image's pixels, without weights or label smoothing."""
    import torch.nn.functional as F

    losses = F.cross_entropy(logits, masks, ignore_index=IGNORED, reduction="none")
    counts = (masks != IGNORED).sum(dim=(1, 2)).clamp(min=1)
    return (losses.sum(dim=(1, 2)) / counts).sum()


def _confusion(logits: Tensor, masks: Tensor) -> Tensor:
    """The number of pixels of each true and each predicted class [classes, classes]. Whole numbers, so it is exact."""
    import torch

    classes = logits.shape[1]
    pairs = masks.long() * classes + logits.argmax(dim=1)
    pairs = pairs.where(masks != IGNORED, classes**2).flatten()
    counts = torch.zeros(classes**2 + 1, dtype=torch.int64, device=logits.device)
    counts.scatter_add_(0, pairs, torch.ones_like(pairs))
    return counts[:-1].view(classes, classes)


def _by_class(confusion: Tensor) -> list[float | None]:
    both = confusion.diagonal()
    either = confusion.sum(dim=0) + confusion.sum(dim=1) - both
    return [hit / union if union else None for hit, union in zip(both.tolist(), either.tolist(), strict=True)]


def _mean(confusion: Tensor, images: int) -> float:
    found = [value for value in _by_class(confusion) if value is not None]
    return sum(found) / len(found) if found else 0.0


MEAN_IOU = Score(
    name="mean intersection over union",
    shape=lambda classes: (classes, classes),
    sums=_confusion,
    value=_mean,
    by_class=_by_class,
)
"""Of the pixels that have a class or are given it, the share that are both; the mean over the classes that occur."""
