"""The images of one training in an evaluation: folds of the run's training and validation images, never of the test.

Repeated stratified k-fold cross-validation: every seed shuffles the images anew. Knows arrays; does not know who asks.
No torch, no Ray.
"""

from __future__ import annotations

import numpy as np

from trainables.assignment import Resample
from trainables.datasets import DataError, DataSplits, ImageArrays, statistics


def resampled(splits: DataSplits, resample: Resample) -> DataSplits:
    """The images of this training; pixels are normalised by those that it trains on, and there are no test images.

    Raises:
        DataError: see `check_folds`.
    """
    from sklearn.model_selection import StratifiedKFold

    check_folds(splits, resample.folds)
    images = _all(splits)
    folds = StratifiedKFold(resample.folds, shuffle=True, random_state=resample.seed)
    for fold, (rest, held_out) in enumerate(folds.split(np.zeros(len(images)), images.labels)):
        if fold == resample.fold:
            train = images.take(rest)
            mean, deviation = statistics(train)
            nothing = splits.test.take(np.empty(0, np.int64))
            return DataSplits(train, images.take(held_out), nothing, splits.classes, mean, deviation)
    raise ValueError(f"there is no fold {resample.fold} of {resample.folds}")


def merged(splits: DataSplits) -> DataSplits:
    """Training and validation images as one, and pixels normalised by them; no validation images, the same test."""
    train = _all(splits)
    mean, deviation = statistics(train)
    nothing = splits.validation.take(np.empty(0, np.int64))
    return DataSplits(train, nothing, splits.test, splits.classes, mean, deviation)


def check_folds(splits: DataSplits, folds: int) -> None:
    """Refuse more folds than the rarest class has images, for some would be without it.

    Raises:
        DataError: names the class.
    """
    counts = np.bincount(_labels(splits), minlength=len(splits.classes))
    rarest = int(counts.argmin())
    if folds > counts[rarest]:
        raise DataError(
            f"{folds} folds are more than the class {splits.classes[rarest]!r} has training and validation images, "
            f"{counts[rarest]}"
        )


def _all(splits: DataSplits) -> ImageArrays:
    return ImageArrays(np.concatenate([splits.train.images, splits.validation.images]), _labels(splits))


def _labels(splits: DataSplits) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.concatenate([splits.train.labels, splits.validation.labels])
