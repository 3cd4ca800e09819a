"""Examples and labels as arrays: the values, and the checks that every data set must pass. No files, no torch.

Examples are images unless a data set says otherwise: `signals.py` has another check, and another way to read a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.pictures import IMAGE_FORMAT, has_channels_first, resize_image
from trainables.reading import AS_PICTURE, Reading
from trainables.settings import DataSettings, printable

IGNORED = 255
"""The number of pixels of a mask that do not count."""

RawPart = tuple[NDArray[Any], NDArray[Any]]
"""Images and labels as a data set has them: unchecked, and the labels are of any kind."""


class DataError(ValueError):
    """The data cannot be used as the settings ask; the message names the setting to change."""


@dataclass(frozen=True)
class ImageArrays:
    """Images, or other examples, and their labels."""

    images: NDArray[Any]
    """Images are uint8 [n, height, width, channels], 0..255; signals are float32 [n, length, channels]; texts are int32
    [n, length, 1], tokens."""
    labels: NDArray[Any]
    """Classes are int64 [n], 0..classes - 1; masks are uint8 [n, height, width], 0..classes - 1 or `IGNORED`; numbers
    to predict are float32 [n, numbers]."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def are_tokens(self) -> bool:
        """Whether the numbers are names, which are not normalised."""
        return self.images.dtype.kind == "i"

    @property
    def has_classes(self) -> bool:
        """Whether each example has a class."""
        return self.labels.ndim == 1 and not self.has_numbers

    @property
    def has_numbers(self) -> bool:
        """Whether each example has numbers to predict."""
        return self.labels.dtype.kind == "f"

    @property
    def strata(self) -> NDArray[np.int64]:
        """The groups of examples [n] of which every part of a split gets its share.

        These are the classes, or for masks the class of the mask that is in the fewest of them; one group for numbers.
        """
        if self.has_numbers:
            return np.zeros(len(self), np.int64)
        return self.labels if self.has_classes else _rarest(self.labels)

    def take(self, indices: NDArray[np.int64]) -> ImageArrays:
        """The images with these indices, in their order."""
        return ImageArrays(self.images[indices], self.labels[indices])


Parts = tuple[NDArray[Any], ...]
"""The training, the validation and the test examples."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Examples as numbers, by what was learned from the training examples."""

    parts: Parts
    reading: Reading
    """How a file becomes a further example, by the same."""
    remarks: tuple[str, ...]
    """What the user should know about it."""
    vectors: NDArray[np.float32] | None = None
    """Initial vectors of the tokens; None: random ones."""


def _rarest(masks: NDArray[np.uint8]) -> NDArray[np.int64]:
    """For each mask, which of its classes is in the fewest masks."""
    present = np.array([np.bincount(mask.ravel(), minlength=IGNORED + 1) > 0 for mask in masks])
    counts = present.sum(axis=0)
    counts[IGNORED] = len(masks) + 1
    return np.where(present, counts, len(masks) + 2).argmin(axis=1)


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A data set before it is split."""

    train: ImageArrays
    """The training images; also the validation images, if the data set has no part for them."""
    validation: ImageArrays | None = None
    """The validation images of the data set; None if they are to be split from the training images."""
    test: ImageArrays | None = None
    """The test images of the data set; None if they are to be split from the training images."""
    classes: tuple[str, ...]
    """Names of the classes, by label, or of the numbers to predict."""
    remarks: tuple[str, ...] = ()
    """What the user should know about how the data set was read."""
    reading: Reading = AS_PICTURE
    """How a file becomes a further example."""
    encode: Callable[[Parts], Encoded] | None = None
    """Makes numbers of the examples once they are split; None: they are numbers."""


@dataclass(frozen=True)
class ExampleCheck:
    """What the examples of a kind must be."""

    plural: str
    """What they are called in messages."""
    size_setting: str
    """The setting that gives all of them the same size."""
    check: Callable[[DataSettings, NDArray[Any], str], NDArray[Any]]
    """Returns the array [n, *size, channels]. The last argument names the part; raises DataError."""


def check_images(settings: DataSettings, images: NDArray[Any], which: str) -> NDArray[np.uint8]:
    """The images [n, height, width, channels], resized as the settings say.

    Raises:
        DataError: the array has another type or shape.
    """
    if images.ndim not in (3, 4) or images.dtype != np.uint8 or has_channels_first(images.shape[1:]):
        raise DataError(
            f"{which} of data set {settings.name!r} are {images.dtype} of shape {list(images.shape)}; each must be "
            f"{IMAGE_FORMAT} (data.root or data.name)"
        )
    check_filled(settings, images, which)
    images = images[..., None] if images.ndim == 3 else images
    size = settings.height_and_width
    if size is not None and images.shape[1:3] != size:
        images = np.stack([resize_image(image, size) for image in images])
    return np.ascontiguousarray(images)


def check_filled(settings: DataSettings, examples: NDArray[Any], which: str) -> None:
    """Raise DataError if an axis of the array is empty."""
    if 0 in examples.shape:
        raise DataError(
            f"{which} of data set {settings.name!r} are empty, of shape {list(examples.shape)} (data.root or data.name)"
        )


IMAGES = ExampleCheck("images", "data.image_size", check_images)


def make_source(
    settings: DataSettings,
    train: RawPart,
    *,
    validation: RawPart | None = None,
    test: RawPart | None = None,
    names: Sequence[str] | None = None,
    remarks: Sequence[str] = (),
    kind: ExampleCheck = IMAGES,
    reading: Reading = AS_PICTURE,
    encode: Callable[[Parts], Encoded] | None = None,
) -> DataSource:
    """Check the arrays, and number the labels.

    Labels are whole numbers, text, bytes, or one-hot rows. Without `names`, the classes are the labels that occur in
    the training images. With `names`, a label is a name or the number of one.

    Raises:
        DataError: an array has another type or shape, or a part does not fit the training images.
    """
    images, labels = _check_part(settings, train, kind.plural, kind)
    values: list[Any] = np.unique(labels).tolist()
    if names is not None:
        values = list(names) if labels.dtype.kind == "U" else list(range(len(names)))
    classes = tuple(printable(name) for name in (values if names is None else names))
    if len(set(classes)) < len(classes):
        raise DataError(f"data set {settings.name!r} has two classes of the same name; change data.root or data.name")
    numbers = {value: number for number, value in enumerate(values)}

    def numbered(images: NDArray[Any], labels: NDArray[Any], which: str) -> ImageArrays:
        unknown = next((label for label in labels.tolist() if label not in numbers), None)
        if unknown is not None:
            raise DataError(
                f"data set {settings.name!r} has the label {unknown!r} in its {which}, which is not one of its "
                f"classes: {', '.join(classes[:10])}{', ...' * (len(classes) > 10)} (data.root or data.name)"
            )
        return ImageArrays(images, np.array([numbers[label] for label in labels.tolist()], np.int64))

    def further(part: RawPart | None, which: str) -> ImageArrays | None:
        if part is None:
            return None
        found = numbered(*_check_part(settings, part, which, kind), which)
        if found.images.shape[1:] != images.shape[1:]:
            raise DataError(
                f"{which} of data set {settings.name!r} have the shape {list(found.images.shape[1:])}, and the "
                f"training {kind.plural} {list(images.shape[1:])}; they must be the same ({kind.size_setting}, "
                "data.root or data.name)"
            )
        return found

    return DataSource(
        train=numbered(images, labels, kind.plural),
        validation=further(validation, f"validation_{kind.plural}"),
        test=further(test, f"test_{kind.plural}"),
        classes=classes,
        remarks=tuple(remarks),
        reading=reading,
        encode=encode,
    )


def _check_part(
    settings: DataSettings, part: RawPart, which: str, kind: ExampleCheck
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Check one part; return its examples, [n, *size, channels], and its labels as plain values."""
    examples = kind.check(settings, part[0], which)
    labels = _from_one_hot(part[1])
    if labels.ndim != 1 or len(examples) != len(labels):
        raise DataError(
            f"data set {settings.name!r} has {len(examples)} {which} but labels of shape {list(labels.shape)}; "
            f"one label per {kind.plural.removesuffix('s')} is needed (data.root or data.name)"
        )
    return examples, _plain(settings, labels)


def _from_one_hot(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the column of the 1 in each row if the labels are one-hot rows; else the labels as they are."""
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in "biuf":
        return labels
    is_one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
    return labels.argmax(axis=1) if is_one_hot else labels


def _plain(settings: DataSettings, labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels as whole numbers or text."""
    if labels.dtype.kind == "S":
        return np.char.decode(labels, "utf-8", "backslashreplace")
    if labels.dtype.kind == "f" and (labels == np.floor(labels)).all() and (np.abs(labels) < 2**53).all():
        return labels.astype(np.int64)
    if labels.dtype.kind not in "biuU":
        found = next((label for label in labels.tolist() if not isinstance(label, float) or label % 1), labels[0])
        raise DataError(
            f"data set {settings.name!r} has the label {found!r} ({labels.dtype}); labels must be whole numbers or "
            "text (data.root or data.name)"
        )
    return labels
