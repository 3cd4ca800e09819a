"""Data sets as arrays: read once, and split once by the seed into training, validation and test images.

Knows where images come from; does not know networks or devices. Only the loaders that need torchvision (and with it
torch) import it, so that listing the names stays cheap.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from trainables.settings import DataSettings

DEFAULT_FOLDER_IMAGE_SIZE = 32

IMAGE_FORMAT = "uint8 (0..255) of shape [height, width(, channels)]"


class DataError(ValueError):
    """The data cannot be used as the settings ask; the message names the setting to change."""


@dataclass(frozen=True)
class ImageArrays:
    """Images and their labels."""

    images: NDArray[np.uint8]
    """[n, height, width, channels], 0..255."""
    labels: NDArray[np.int64]
    """[n], 0..classes - 1."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> ImageArrays:
        """The images with these indices, in their order."""
        return ImageArrays(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class DataSource:
    """A data set before it is split."""

    train: ImageArrays
    """The images to split into training and validation."""
    test: ImageArrays | None
    """The official test images; None if the data set has none."""
    classes: tuple[str, ...]
    """Class names, by label."""


@dataclass(frozen=True, kw_only=True)
class DataSplits:
    """Training, validation and test images with the statistics to normalise them."""

    train: ImageArrays
    validation: ImageArrays
    test: ImageArrays
    classes: tuple[str, ...]
    """Class names, by label."""
    mean: tuple[float, ...]
    """Mean of the training images' pixels (0..255), per channel."""
    deviation: tuple[float, ...]
    """Standard deviation of the training images' pixels (0..255), per channel."""

    def describe(self) -> dict[str, Any]:
        """Facts for the record; `sha256` is the hash of the training and validation images and labels."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation):
            digest.update(part.images.tobytes())
            digest.update(part.labels.tobytes())
        return {
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
            "image_shape": list(self.train.images.shape[1:]),
            "classes": list(self.classes),
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "sha256": digest.hexdigest(),
        }


def load_data(settings: DataSettings, seed: int) -> DataSplits:
    """Read the data set and split it; the same settings and seed give the same split on every machine.

    Raises:
        DataError: the data is missing or malformed, has only one class, or a part would lack a class.
    """
    source = _find_loader(settings.name)(settings)
    if len(source.classes) < 2:
        raise DataError(
            f"data set {settings.name!r} has {len(source.classes)} class ({', '.join(source.classes) or 'none'}); "
            "at least 2 are needed (data.root)"
        )
    train, test = source.train, source.test
    if test is None:
        train, test = _split(train, settings.test_fraction, seed=seed, classes=source.classes, setting="test_fraction")
    if settings.limit is not None and settings.limit < len(train):
        # A stratified split needs an image of every class in both parts, so also among the images that are left out.
        keep = min(settings.limit, len(train) - len(source.classes))
        _, train = _split(train, keep, seed=seed, classes=source.classes, setting="limit")
    train, validation = _split(
        train, settings.validation_fraction, seed=seed, classes=source.classes, setting="validation_fraction"
    )
    mean, deviation = channel_statistics(train)
    return DataSplits(
        train=train, validation=validation, test=test, classes=source.classes, mean=mean, deviation=deviation
    )


def channel_statistics(part: ImageArrays) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the pixels (0..255) per channel; the deviation of a constant channel is set to 1."""
    pixels = part.images.reshape(-1, part.images.shape[-1])
    deviation = pixels.std(axis=0, dtype=np.float64)
    mean = pixels.mean(axis=0, dtype=np.float64)
    return tuple(mean.tolist()), tuple(np.where(deviation > 0, deviation, 1.0).tolist())


def _split(
    part: ImageArrays, amount: float, *, seed: int, classes: Sequence[str], setting: str
) -> tuple[ImageArrays, ImageArrays]:
    """Take a fraction (float) or a number (int) of images, stratified by class; returns the rest and the taken ones."""
    from sklearn.model_selection import train_test_split

    counts = np.bincount(part.labels, minlength=len(classes))
    rarest = int(counts.argmin())
    problem = (
        f"data.{setting} = {amount} leaves a part without an image of a class, for example {classes[rarest]!r}, "
        f"which has {counts[rarest]} of {len(part)} images; add images or change data.{setting}"
    )
    try:
        rest, taken = train_test_split(np.arange(len(part)), test_size=amount, stratify=part.labels, random_state=seed)
    except ValueError as error:
        raise DataError(problem) from error
    rest.sort()
    taken.sort()
    for indices in (rest, taken):
        if (np.bincount(part.labels[indices], minlength=len(classes)) == 0).any():
            raise DataError(problem)
    return part.take(rest), part.take(taken)


def _find_loader(name: str) -> Callable[[DataSettings], DataSource]:
    return _from_function if ":" in name else DATASETS[name]


def _digits(settings: DataSettings) -> DataSource:
    """1,797 handwritten digits, 8x8, grey; comes with scikit-learn (Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return _make_source(settings, (images, digits.target), names=[str(label) for label in range(10)])


def _torchvision(
    class_name: str,
    about: str,
    *,
    splits: Sequence[dict[str, Any]] = ({"train": True}, {"train": False}),
    labels: str = "targets",
) -> Callable[[DataSettings], DataSource]:
    """The loader of a torchvision data set that keeps its images as arrays and has an official test set."""

    def load(settings: DataSettings) -> DataSource:
        from torchvision import datasets

        parts = []
        for split in splits:
            try:
                data = getattr(datasets, class_name)(settings.root, download=settings.download, **split)
            except Exception as error:  # torchvision's parsers raise exceptions of any type on a broken file
                reason = next(iter(str(error).splitlines()), type(error).__name__).partition(" You can use")[0]
                if settings.download:
                    raise DataError(
                        f"{class_name} cannot be downloaded into data.root = {settings.root!r}: {reason} (check the "
                        "network, or put torchvision's files there and set data.download = false)"
                    ) from error
                raise DataError(
                    f"data.root = {settings.root!r} does not hold {class_name} in torchvision's layout: "
                    f"{reason} (set data.root, or data.download = true)"
                ) from error
            images = np.asarray(data.data)
            if images.ndim == 4 and images.shape[-1] != 3:  # SVHN keeps its channels first
                images = images.transpose(0, 2, 3, 1)
            parts.append((images, np.asarray(getattr(data, labels))))
        classes = getattr(data, "classes", [str(label) for label in range(10)])
        return _make_source(settings, parts[0], test=parts[1], names=classes)

    load.__doc__ = about
    return load


def _image_folder(settings: DataSettings) -> DataSource:
    """One folder per class, directly under `root`, or under `root/train` and `root/test` (or `root/val`)."""
    from PIL import Image
    from torchvision.datasets import ImageFolder

    root = Path(settings.root)
    if not root.is_dir():
        raise DataError(f"data.root = {settings.root!r} is not a folder")
    train_root, test_root = root, None
    if (root / "train").is_dir():
        train_root = root / "train"
        test_root = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    size = settings.image_size or DEFAULT_FOLDER_IMAGE_SIZE
    settings = settings.model_copy(update={"image_size": size})

    def read(folder: Path) -> tuple[tuple[NDArray[np.uint8], NDArray[np.int64]], list[str]]:
        try:
            data = ImageFolder(str(folder))
        except FileNotFoundError as error:
            raise DataError(f"data.root = {settings.root!r} needs one folder of images per class: {error}") from error
        images = np.empty((len(data), size, size, 3), np.uint8)
        for index, (path, _) in enumerate(data.samples):
            try:
                with Image.open(path) as picture:
                    check_bit_depth(picture.mode)
                    images[index] = resize_image(to_pixels(picture.convert("RGB")), (size, size))
            except OSError as error:
                raise DataError(f"{path} cannot be read as an image; repair or remove it (data.root)") from error
            except ValueError as error:
                raise DataError(f"{path}: {error} (data.root)") from error
        return (images, np.asarray(data.targets)), list(data.classes)

    train, classes = read(train_root)
    test = None
    if test_root is not None:
        test, test_classes = read(test_root)
        if test_classes != classes:
            raise DataError(
                f"{test_root} has the classes {test_classes}, but {train_root} has {classes}; they must be the same "
                "(data.root)"
            )
    return _make_source(settings, train, test=test, names=classes)


def _npz(settings: DataSettings) -> DataSource:
    """A NumPy archive with `images` and `labels`, and optionally `test_images` and `test_labels`."""
    try:
        with np.load(settings.root, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        # NumPy's own message recommends to unpickle the file, which would run any code in it.
        raise DataError(
            f"data.root = {settings.root!r} is not an .npz file of plain arrays as numpy.savez writes it"
        ) from error
    for needed in ("images", "labels", *(("test_images", "test_labels") if "test_images" in arrays else ())):
        if needed not in arrays:
            raise DataError(
                f"data.root = {settings.root!r} holds the arrays {', '.join(arrays) or 'none'}; {needed!r} is missing"
            )
    test = (arrays["test_images"], arrays["test_labels"]) if "test_images" in arrays else None
    return _make_source(settings, (arrays["images"], arrays["labels"]), test=test)


def _from_function(settings: DataSettings) -> DataSource:
    """The result of `module:function`: a map-style data set of (image, label), or a pair of them (training, test)."""
    module, _, function = settings.name.partition(":")
    try:
        made = getattr(importlib.import_module(module), function)(**settings.options)
    except Exception as error:  # a user's function may raise anything
        raise DataError(f"data.name = {settings.name!r} raised {type(error).__name__}: {error}") from error
    parts = made if isinstance(made, tuple) else (made,)

    def read(data: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        if not len(data):
            raise DataError(f"data.name = {settings.name!r} returns an empty data set")
        pairs = [data[index] for index in range(len(data))]
        if len({np.shape(image) for image, _ in pairs}) > 1 and settings.image_size is None:
            raise DataError(f"data.name = {settings.name!r} returns images of several sizes; set data.image_size")
        try:
            images = [to_pixels(image) for image, _ in pairs]
        except ValueError as error:
            raise DataError(f"data.name = {settings.name!r}: {error}") from error
        if settings.image_size is not None:
            images = [resize_image(image, (settings.image_size, settings.image_size)) for image in images]
        return np.stack(images), np.asarray([int(label) for _, label in pairs])

    test = read(parts[1]) if len(parts) > 1 else None
    return _make_source(settings, read(parts[0]), test=test, names=getattr(parts[0], "classes", None))


def _make_source(
    settings: DataSettings,
    train: tuple[NDArray[Any], NDArray[Any]],
    *,
    test: tuple[NDArray[Any], NDArray[Any]] | None = None,
    names: Sequence[str] | None = None,
) -> DataSource:
    """Check the arrays, resize the images and number the labels.

    Without `names`, the classes are the labels that occur in the training images.
    """
    for part, which in ((train, "images"), (test, "test_images")):
        if part is None:
            continue
        images, labels = part
        if images.ndim not in (3, 4) or images.dtype != np.uint8 or _has_channels_first(images.shape[1:]):
            raise DataError(
                f"{which} of data set {settings.name!r} are {images.dtype} of shape {list(images.shape)}; each must be "
                f"{IMAGE_FORMAT} (data.root or data.name)"
            )
        if labels.ndim != 1 or len(images) != len(labels):
            raise DataError(
                f"data set {settings.name!r} has {len(images)} {which} but labels of shape {list(labels.shape)}; "
                "one label per image is needed (data.root or data.name)"
            )
        if not len(images):
            raise DataError(f"{which} of data set {settings.name!r} are empty (data.root or data.name)")
    values = np.unique(train[1])
    if names is None:
        names = [str(value) for value in values]
    else:
        values = np.arange(len(names))

    def arrays(part: tuple[NDArray[Any], NDArray[Any]]) -> ImageArrays:
        images, labels = part
        if images.ndim == 3:
            images = images[..., None]
        if settings.image_size is not None and images.shape[1:3] != (settings.image_size, settings.image_size):
            images = np.stack([resize_image(image, (settings.image_size, settings.image_size)) for image in images])
        unknown = np.setdiff1d(labels, values)
        if len(unknown):
            raise DataError(
                f"data set {settings.name!r} has the label {unknown[0]!r}, which is not one of its classes "
                "(data.root or data.name)"
            )
        return ImageArrays(np.ascontiguousarray(images), np.searchsorted(values, labels).astype(np.int64))

    return DataSource(arrays(train), None if test is None else arrays(test), tuple(map(str, names)))


def to_pixels(image: Any) -> NDArray[np.uint8]:
    """The pixels of a Pillow picture, an array or a tensor: [height, width(, channels)], 0..255.

    Raises:
        ValueError: the image has another type or shape.
    """
    from PIL import Image

    if isinstance(image, Image.Image):
        check_bit_depth(image.mode)
        image = image.convert({"1": "L", "P": "RGB", "PA": "RGBA"}.get(image.mode, image.mode))
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or _has_channels_first(pixels.shape):
        raise ValueError(f"an image is {pixels.dtype} of shape {list(pixels.shape)}; it must be {IMAGE_FORMAT}")
    return pixels


def check_bit_depth(mode: str) -> None:
    """Refuse pictures of more than 8 bits per channel, which Pillow clips without a warning.

    Args:
        mode: Pillow's mode of the picture.

    Raises:
        ValueError: the mode has more than 8 bits per channel.
    """
    if mode.startswith(("I", "F")):
        raise ValueError(f"a picture has more than 8 bits per channel (mode {mode}); scale it to 8 bits first")


def _has_channels_first(shape: Sequence[int]) -> bool:
    """Whether the first axis of an image of this shape is probably its channels, as in torchvision's tensors."""
    return len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] > 4


def resize_image(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize pixels [height, width(, channels)] to [*size, channels], bilinearly; `size` is (height, width)."""
    from PIL import Image

    # One channel at a time, because arrays can have any number of channels, but Pillow's pictures 1, 3 or 4.
    pixels = np.atleast_3d(pixels)
    channels = [Image.fromarray(pixels[..., channel]) for channel in range(pixels.shape[-1])]
    resized = [channel.resize((size[1], size[0]), Image.Resampling.BILINEAR) for channel in channels]
    return np.stack([np.asarray(channel) for channel in resized], axis=-1)


DATASETS: dict[str, Callable[[DataSettings], DataSource]] = {
    "digits": _digits,
    "mnist": _torchvision("MNIST", "70,000 handwritten digits, 28x28, grey (LeCun et al. 1998)"),
    "fashion_mnist": _torchvision("FashionMNIST", "70,000 articles of clothing, 28x28, grey (Xiao et al. 2017)"),
    "cifar10": _torchvision("CIFAR10", "60,000 photographs of 10 classes, 32x32, colour (Krizhevsky 2009)"),
    "cifar100": _torchvision("CIFAR100", "60,000 photographs of 100 classes, 32x32, colour (Krizhevsky 2009)"),
    "svhn": _torchvision(
        "SVHN",
        "99,289 house numbers' digits, 32x32, colour (Netzer et al. 2011)",
        splits=({"split": "train"}, {"split": "test"}),
        labels="labels",
    ),
    "image_folder": _image_folder,
    "npz": _npz,
}
"""Built-in data sets, by their names in a search file."""
