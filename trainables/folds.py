"""The images of one training in an evaluation: folds of the training and validation images, never test images.

Repeated stratified k-fold cross-validation: every seed shuffles the images again. Knows arrays; does not know trials.
No torch, no Ray.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainables.assignment import Resample
from trainables.datasets import DataSplits, channel_statistics
from trainables.image_arrays import DataError, ImageArrays

_NO_INDICES = np.empty(0, np.int64)


def resample_splits(splits: DataSplits, resample: Resample) -> DataSplits:
    """Split training and validation images for one training of an evaluation.

    Mean and deviation are those of the images that are trained on. There are no test images.

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
            mean, deviation = channel_statistics(train)
            return replace(
                splits,
                train=train,
                validation=images.take(held_out),
                test=splits.test.take(_NO_INDICES),
                mean=mean,
                deviation=deviation,
            )
    raise ValueError(f"fold is {resample.fold}; it must be at least 0 and below folds = {resample.folds}")


def merge_validation(splits: DataSplits) -> DataSplits:
    """Move the validation images into the training images; mean and deviation are those of all of them."""
    train = _all(splits)
    mean, deviation = channel_statistics(train)
    validation = splits.validation.take(_NO_INDICES)
    return replace(splits, train=train, validation=validation, mean=mean, deviation=deviation)


def check_folds(splits: DataSplits, folds: int) -> None:
    """Refuse more folds than the rarest class has images, because some folds would lack the class.

    Raises:
        DataError: there are too many folds; the message names the class.
    """
    counts = np.bincount(_labels(splits), minlength=len(splits.classes))
    rarest = int(counts.argmin())
    if folds > counts[rarest]:
        raise DataError(
            f"{folds} folds are more than the class {splits.classes[rarest]!r} has training and validation images, "
            f"{counts[rarest]}"
        )


def _all(splits: DataSplits) -> ImageArrays:
    """Training and validation images together."""
    return ImageArrays(np.concatenate([splits.train.images, splits.validation.images]), _labels(splits))


def _labels(splits: DataSplits) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.concatenate([splits.train.labels, splits.validation.labels])
