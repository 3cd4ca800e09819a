"""The images of a further training of a candidate: its training and validation images split anew, never test images.

An evaluation is a repeated stratified k-fold cross-validation; a confirmation splits at random into parts of the same
size as before. Every seed shuffles the images again. Knows arrays; does not know trials. No torch, no Ray.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainables.assignment import Resample
from trainables.datasets import DataSplits, can_stratify, channel_statistics, split_at_random
from trainables.image_arrays import DataError, ImageArrays

Indices = NDArray[np.int64]

_NO_INDICES: Indices = np.empty(0, np.int64)


def resample_splits(splits: DataSplits, resample: Resample) -> DataSplits:
    """Split training and validation images for one further training of a candidate.

    Mean and deviation are those of the images that are trained on. There are no test images.

    Raises:
        DataError: see `check_folds`.
    """
    test = splits.test.take(_NO_INDICES)
    if resample.split == "search":
        return replace(splits, test=test)
    train, validation = _resampled(splits, resample)
    mean, deviation = channel_statistics(train)
    return replace(splits, train=train, validation=validation, test=test, mean=mean, deviation=deviation)


def _resampled(splits: DataSplits, resample: Resample) -> tuple[ImageArrays, ImageArrays]:
    """Return the images to train on, and those to score on."""
    images = _all(splits)
    if resample.split == "fresh":
        held_out = len(splits.validation)
        return split_at_random(images, held_out, seed=resample.seed, stratified=can_stratify(images, held_out))
    from sklearn.model_selection import StratifiedKFold

    strata = check_folds(splits, resample.folds)
    if not 0 <= resample.fold < resample.folds:
        raise ValueError(f"fold is {resample.fold}; it must be at least 0 and below folds = {resample.folds}")
    folds = StratifiedKFold(resample.folds, shuffle=True, random_state=resample.seed)
    rest, scored = list(folds.split(np.zeros(len(images)), strata))[resample.fold]
    return images.take(rest), images.take(scored)


def merge_validation(splits: DataSplits) -> DataSplits:
    """Move the validation images into the training images; mean and deviation are those of all of them."""
    train = _all(splits)
    mean, deviation = channel_statistics(train)
    validation = splits.validation.take(_NO_INDICES)
    return replace(splits, train=train, validation=validation, mean=mean, deviation=deviation)


def check_folds(splits: DataSplits, folds: int) -> Indices:
    """Refuse more folds than the rarest class has images, because some folds would lack the class; return the strata.

    Raises:
        DataError: there are too many folds; the message names the class.
    """
    images = _all(splits)
    if not images.has_classes:
        if folds > len(images):
            raise DataError(f"{folds} folds are more than the {len(images)} training and validation images")
        strata = images.strata
        can = np.bincount(strata)[np.unique(strata)].min() >= folds
        return strata if can else np.zeros_like(strata)
    counts = np.bincount(images.labels, minlength=len(splits.classes))
    rarest = int(counts.argmin())
    if folds > counts[rarest]:
        raise DataError(
            f"{folds} folds are more than the class {splits.classes[rarest]!r} has training and validation images, "
            f"{counts[rarest]}"
        )
    return images.strata


def _all(splits: DataSplits) -> ImageArrays:
    """Training and validation images together."""
    parts = splits.train, splits.validation
    return ImageArrays(*(np.concatenate(arrays) for arrays in zip(*((p.images, p.labels) for p in parts), strict=True)))
