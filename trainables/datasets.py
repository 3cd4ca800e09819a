"""Data sets as arrays: read once, and split once by the seed into training, validation and test images.

Does not know networks or devices, or what the examples are: `tasks/` says that. Only torchvision's data sets import
torch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.image_arrays import DataError, DataSource, ImageArrays
from trainables.reading import AS_PICTURE, Reading, reading_facts
from trainables.settings import DataSettings
from trainables.tasks.table import find_task, task_name
from trainables.tasks.task import Task
from trainables.torchvision_data import TORCHVISION, check_root


@dataclass(frozen=True, kw_only=True)
class DataSplits:
    """Training, validation and test images with the statistics to normalise them."""

    train: ImageArrays
    validation: ImageArrays
    test: ImageArrays
    classes: tuple[str, ...]
    """Names of the classes, by label, or of the numbers to predict."""
    mean: tuple[float, ...]
    """Mean of the training images' pixels (0..255), per channel; empty for tokens."""
    deviation: tuple[float, ...]
    """Standard deviation of the training images' pixels (0..255), per channel; empty for tokens."""
    remarks: tuple[str, ...] = ()
    """What the user should know about how the data set was read."""
    reading: Reading = AS_PICTURE
    """How a file becomes a further example."""
    vectors: NDArray[np.float32] | None = None
    """Initial vectors of the tokens [tokens, numbers]; None: random ones."""
    task: str = "image"
    """What is learned from them, by the name in `TASKS`."""

    def summary(self) -> str:
        """One line about what was read."""
        classes = ", ".join(self.classes[:10]) + (", ..." if len(self.classes) > 10 else "")
        examples = f"{self.reading.files.example}s"
        counts = f"{len(self.train)} training, {len(self.validation)} validation and {len(self.test)} test {examples}"
        what = f"to predict: {classes}" if self.train.has_numbers else f"{len(self.classes)} classes ({classes})"
        return "; ".join([f"{what}, {counts}", *self.remarks])

    def describe(self) -> dict[str, Any]:
        """Facts for the record; `sha256` is the hash of all images, labels and vectors."""
        task, digest = find_task(self.task), hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            digest.update(part.images.tobytes())
            digest.update(part.labels.tobytes())
        if self.vectors is not None:
            digest.update(self.vectors.tobytes())
        return {
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
            "image_shape": list(self.train.images.shape[1:]),
            "classes": list(self.classes),
            "largest_class": largest_class(self.validation.labels) if self.validation.has_classes else None,
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "sha256": digest.hexdigest(),
            **({} if self.vectors is None else {"vector_size": self.vectors.shape[1]}),
            "score": task.score.facts(),
            "outputs": task.outputs,
            **reading_facts(self.reading),
        }


def largest_class(labels: NDArray[np.int64]) -> float | None:
    """The share of the images (0..1) that are of the most frequent class: the accuracy of always guessing it.

    None without images.
    """
    return float(np.bincount(labels).max() / len(labels)) if len(labels) else None


def load_data(settings: DataSettings, seed: int) -> DataSplits:
    """Read the data set and split it; the same settings and seed give the same split on every machine.

    Raises:
        DataError: the data is missing or malformed, has only one class, or a part would lack a class.
    """
    settings = settings.located()
    try:
        task = task_name(settings.name, settings.task)
        return replace(_split_source(_task_of(settings).load(settings), settings, seed), task=task)
    except MemoryError as error:
        raise DataError(
            f"data set {settings.name!r} does not fit into memory as arrays (data.image_size, data.length or data.root)"
        ) from error


def _task_of(settings: DataSettings) -> Task:
    name = task_name(settings.name, settings.task)
    try:
        return find_task(name)
    except ValueError as error:
        raise DataError(f"data.task is {name!r}, but {error}") from error


def needs_torch(settings: DataSettings) -> bool:
    """Whether `load_data` imports torch by itself. What can be checked without it is checked here.

    Raises:
        DataError: the root does not exist.
    """
    if settings.name not in TORCHVISION:
        return False
    check_root(settings.located())
    return True


def _split_source(source: DataSource, settings: DataSettings, seed: int) -> DataSplits:
    classes = source.classes
    if not source.train.has_numbers and len(classes) < 2:
        raise DataError(
            f"data set {settings.name!r} has {'1 class' if classes else 'no classes'} "
            f"({', '.join(map(repr, classes)) or 'none'}); at least 2 are needed (data.root or data.name)"
        )
    train, validation, test = source.train, source.validation, source.test
    _check_rarest(source)
    how: list[str] = []
    if test is None:
        how += _how_split(train, settings.test_fraction)
        train, test = _split(train, settings.test_fraction, seed=seed, classes=classes, setting="test_fraction")
    if settings.limit is not None:
        # The limit is for both; each keeps its share.
        share = 1.0 if validation is None else len(train) / (len(train) + len(validation))
        allowed = round(settings.limit * share)
        if validation is not None:
            validation = _limit(validation, settings.limit - allowed, seed=seed, classes=classes)
        train = _limit(train, allowed, seed=seed, classes=classes)
    if validation is None:
        how += _how_split(train, settings.validation_fraction)
        train, validation = _split(
            train, settings.validation_fraction, seed=seed, classes=classes, setting="validation_fraction"
        )
    reading, remarks, vectors = source.reading, source.remarks, None
    if source.encode is not None:
        encoded = source.encode((train.images, validation.images, test.images))
        parts = zip(encoded.parts, (train, validation, test), strict=True)
        train, validation, test = (ImageArrays(numbers, part.labels) for numbers, part in parts)
        reading, remarks, vectors = encoded.reading, (*remarks, *encoded.remarks), encoded.vectors
    mean, deviation = channel_statistics(train)
    return DataSplits(
        train=train,
        validation=validation,
        test=test,
        classes=classes,
        mean=mean,
        deviation=deviation,
        remarks=(*remarks, *dict.fromkeys(how)),
        reading=reading,
        vectors=vectors,
    )


def _check_rarest(source: DataSource) -> None:
    """Refuse a class with fewer images than parts to split them into: no fraction could help."""
    others = {"validation": source.validation, "test": source.test}
    made = ["training", *(name for name, part in others.items() if part is None)]
    if len(made) == 1 or not source.train.has_classes:
        return
    counts = np.bincount(source.train.labels, minlength=len(source.classes))
    rarest = int(counts.argmin())
    if counts[rarest] < len(made):
        raise DataError(
            f"the class {source.classes[rarest]!r} has {counts[rarest]} of {len(source.train)} images; a class needs "
            f"at least {len(made)}, one for each part they are split into ({', '.join(made)}); add images or leave the "
            "class out (data.root or data.name)"
        )


def _how_split(part: ImageArrays, fraction: float) -> list[str]:
    """A remark on how examples that do not have a class each are split."""
    if part.has_classes:
        return []
    if part.has_numbers or not can_stratify(part, math.ceil(fraction * len(part))):
        return ["split at random"]
    return ["split at random, stratified by the class of each mask that is in the fewest masks"]


def channel_statistics(part: ImageArrays) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the pixels (0..255) per channel; the deviation of a constant channel is set to 1.

    Empty for tokens.
    """
    if part.are_tokens:
        return (), ()
    pixels = part.images.reshape(-1, part.images.shape[-1])
    deviation = pixels.std(axis=0, dtype=np.float64)
    mean = pixels.mean(axis=0, dtype=np.float64)
    return tuple(mean.tolist()), tuple(np.where(deviation > 0, deviation, 1.0).tolist())


def _limit(part: ImageArrays, limit: int, *, seed: int, classes: Sequence[str]) -> ImageArrays:
    """Keep at most this many images, stratified by class."""
    if limit >= len(part):
        return part
    # A stratified split needs an image of every class in both parts, so also among the images that are left out.
    keep = min(limit, len(part) - (len(classes) if part.has_classes else 1))
    return _split(part, keep, seed=seed, classes=classes, setting="limit")[1]


def _split(
    part: ImageArrays, amount: float, *, seed: int, classes: Sequence[str], setting: str
) -> tuple[ImageArrays, ImageArrays]:
    """Take a fraction (float) or a number (int) of images, stratified by class; returns the rest and the taken ones."""
    if not part.has_classes:
        count = amount if isinstance(amount, int) else math.ceil(amount * len(part))
        if not 0 < count < len(part):
            raise DataError(
                f"data.{setting} = {amount} leaves a part without any of the {len(part)} images; add images or change "
                f"data.{setting}"
            )
        return split_at_random(part, count, seed=seed, stratified=can_stratify(part, count))
    counts = np.bincount(part.labels, minlength=len(classes))
    rarest = int(counts.argmin())
    problem = (
        f"data.{setting} = {amount} leaves a part without an image of a class, for example {classes[rarest]!r}, "
        f"which has {counts[rarest]} of {len(part)} images; add images or change data.{setting}"
    )
    try:
        rest, taken = split_at_random(part, amount, seed=seed)
    except ValueError as error:
        raise DataError(problem) from error
    for one in (rest, taken):
        if (np.bincount(one.labels, minlength=len(classes)) == 0).any():
            raise DataError(problem)
    return rest, taken


def can_stratify(part: ImageArrays, taken: int) -> bool:
    """Whether a part of so many images, and the rest, can each have images of every stratum."""
    counts = np.bincount(part.strata)
    present = counts[counts > 0]
    return bool(present.min() > 1) and min(taken, len(part) - taken) >= len(present)


def split_at_random(
    part: ImageArrays, amount: float, *, seed: int, stratified: bool = True
) -> tuple[ImageArrays, ImageArrays]:
    """Take a fraction (float) or a number (int) of images; returns the rest and the taken ones, in their order.

    Raises:
        ValueError: they cannot be stratified.
    """
    from sklearn.model_selection import train_test_split

    strata = part.strata if stratified else None
    rest, taken = train_test_split(np.arange(len(part)), test_size=amount, stratify=strata, random_state=seed)
    return part.take(np.sort(rest)), part.take(np.sort(taken))
