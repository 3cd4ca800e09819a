"""Segmentation: a class for each pixel of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.class_folders import ROLES, Contents, Role, find_parts, list_contents, test_of_two
from trainables.data_functions import call_for_pairs
from trainables.image_arrays import IGNORED, DataError, DataSource, ImageArrays, check_images
from trainables.npz_file import read_npz
from trainables.pictures import PICTURES, PictureError, TooManyPixelsError, read_picture, to_pixels
from trainables.settings import DataSettings, printable
from trainables.tasks.pixels import MEAN_IOU, pixel_cross_entropy, pixel_cross_entropy_sum
from trainables.tasks.task import FOR_TEXTS, Task

KINDS = ("images", "masks")
"""The names of the two folders."""
NAMES = "classes.txt"
"""A file beside the folders with the name of a class in each line."""
MASK_MODES = ("1", "L", "P")
"""Pillow's modes of pictures whose pixels are numbers below 256."""


class _Part(NamedTuple):
    """Images [n, height, width, channels] and masks [n, height, width] as a data set has them."""

    images: NDArray[Any]
    masks: NDArray[Any]


def load_segmentation(settings: DataSettings) -> DataSource:
    """Images with masks: folders `images` and `masks` of pictures with the same names, or an .npz file with both."""
    return _load_folders(settings) if Path(settings.root).is_dir() else _load_npz(settings)


def _load_npz(settings: DataSettings) -> DataSource:
    parts, names, remarks = read_npz(settings, "images", "masks")
    found: dict[Role, _Part] = {
        role: _Part(*parts[prefix])
        for role, prefix in zip(ROLES, ("", "validation_", "test_"), strict=True)
        if prefix in parts
    }
    return _make_source(settings, found, names=names, remarks=remarks)


def load_function(settings: DataSettings) -> DataSource:
    """The result of `module:function`: arrays (images, masks), or two or three such pairs."""
    found = call_for_pairs(settings, _is_pair, "a pair of arrays (images, masks)")
    return _make_source(settings, {role: _Part(*(np.asarray(array) for array in pair)) for role, pair in found.items()})


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(hasattr(array, "shape") for array in value)


def _load_folders(settings: DataSettings) -> DataSource:
    root = Path(settings.root)
    contents = list_contents(root, PICTURES)
    try:
        folders = test_of_two(_find_folders(contents))
    except ValueError as error:
        raise DataError(f"data.root = {printable(root)!r} {error}") from error
    parts = {
        role: _read_part(settings, {kind: root / place for kind, place in places.items()}, contents)
        for role, places in folders.items()
    }
    read = ", ".join(f"{role} images from {printable(places['images'])!r}" for role, places in folders.items())
    return _make_source(settings, parts, names=_read_names(root / NAMES), remarks=[read] if len(folders) > 1 else [])


def _find_folders(contents: Contents) -> dict[Role, dict[str, str]]:
    """The folders of `images` and `masks` of each part: `train/images`, `images/train`, or just `images`.

    Raises:
        ValueError: the names can be read in two ways; the message says which.
    """
    parts = find_parts(contents)
    if None not in parts.values():
        return {role: {kind: f"{folder}/{kind}" for kind in KINDS} for role, folder in parts.items()}
    files, folders = (
        [(*place[1::-1], *place[2:]) for place in places if len(place) > 1 and place[0] in KINDS]
        for places in (contents.files, contents.folders)
    )
    inside = find_parts(replace(contents, files=[place for place in files if len(place) > 2], folders=folders))
    return {
        role: {kind: kind if folder is None else f"{kind}/{folder}" for kind in KINDS}
        for role, folder in inside.items()
    }


def _read_names(path: Path) -> list[str] | None:
    """The names of the classes, one in each line; None if there is no such file."""
    if not path.is_file():
        return None
    names = [printable(line.strip()) for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    if "" in names:
        raise DataError(f"line {names.index('') + 1} of {printable(path)} is empty; each line names a class")
    return names or None


def _read_part(settings: DataSettings, folders: Mapping[str, Path], contents: Contents) -> _Part:
    """Read the pictures in the folders of images and of masks, paired by their names without the ending."""
    places = {kind: _pictures_in(settings, folder, contents) for kind, folder in folders.items()}
    for kind, other in (KINDS, KINDS[::-1]):
        alone = sorted(set(places[kind]) - set(places[other]))
        if alone:
            raise DataError(
                f"{printable(places[kind][alone[0]])} has no picture of the same name in "
                f"{printable(folders[other])!r} ({len(alone)} of {len(places[kind])} have none; data.root)"
            )
    images: list[NDArray[np.uint8]] = []
    masks: list[NDArray[np.uint8]] = []
    for name, path in sorted(places["images"].items()):
        try:
            image, _ = read_picture(path, "RGB", max_pixels=settings.max_pixels)
            mask, mode = read_picture(places["masks"][name], None, max_pixels=settings.max_pixels)
        except PictureError as error:
            limit = ", data.max_pixels" if isinstance(error, TooManyPixelsError) else ""
            raise DataError(f"{error}; repair or remove it (data.root{limit})") from error
        place = printable(places["masks"][name])
        if mode not in MASK_MODES:
            raise DataError(
                f"{place} is a picture of mode {mode}; the pixels of a mask are numbers of classes, so it must be grey "
                "or have a palette (data.root)"
            )
        if mask.size != image.size:
            raise DataError(f"{place} has {_size(mask.size)} pixels, but its image has {_size(image.size)} (data.root)")
        pixels, classes = to_pixels(image), np.asarray(mask, np.uint8)
        if settings.image_size is not None:
            part = _resized(settings, _Part(pixels[None], classes[None]), "images")
            pixels, classes = part.images[0], part.masks[0]
        images.append(pixels)
        masks.append(classes)
        if pixels.shape != images[0].shape:
            raise DataError(
                f"{printable(path)} has {_size(image.size)} pixels, but other images in its folder differ; set "
                "data.image_size"
            )
    return _Part(np.stack(images), np.stack(masks))


def _pictures_in(settings: DataSettings, folder: Path, contents: Contents) -> dict[str, Path]:
    """The pictures in a folder, by their paths below it without the endings."""
    paths = [Path(settings.root, *place) for place in contents.files]
    found = [path for path in paths if path.is_relative_to(folder)]
    if not found:
        raise DataError(f"{printable(folder)!r} has no pictures; folders 'images' and 'masks' are needed (data.root)")
    named = {str(path.relative_to(folder).with_suffix("")): path for path in found}
    if len(named) < len(found):
        raise DataError(f"{printable(folder)!r} has two pictures of the same name with other endings (data.root)")
    return named


def _size(size: tuple[int, int]) -> str:
    """Pillow's (width, height) as height x width."""
    return f"{size[1]}x{size[0]}"


def _make_source(
    settings: DataSettings,
    parts: Mapping[Role, _Part],
    *,
    names: Sequence[str] | None = None,
    remarks: Sequence[str] = (),
) -> DataSource:
    """Check the arrays, resize them, and number the classes.

    Without `names`, the classes are the numbers that occur in the training masks.
    """
    words = {"train": "", "validation": "validation_", "test": "test_"}
    checked = {role: _resized(settings, part, f"{words[role]}images") for role, part in parts.items()}
    ignored = settings.ignored_class
    present = [value for value in np.unique(checked["train"].masks).tolist() if value != ignored]
    values = present if names is None else list(range(len(names)))
    classes = [str(value) for value in values] if names is None else list(names)
    if len(classes) >= IGNORED:
        raise DataError(f"data set {settings.name!r} has {len(classes)} classes; at most {IGNORED - 1} are possible")
    numbers = np.full(256, IGNORED, np.uint8)
    numbers[values] = np.arange(len(values))
    arrays: dict[Role, ImageArrays] = {}
    counted = total = 0
    for role, part in checked.items():
        unknown = sorted(set(np.unique(part.masks).tolist()) - {*values, ignored})
        if unknown:
            raise DataError(
                f"data set {settings.name!r} has the class {unknown[0]} in its {words[role]}masks, which is not one of "
                f"its classes: {', '.join(map(str, values[:20]))}{', ...' * (len(values) > 20)} (data.ignored_class, "
                "data.root)"
            )
        arrays[role] = ImageArrays(part.images, numbers[part.masks])
        counted, total = counted + int((arrays[role].labels != IGNORED).sum()), total + part.masks.size
    share = f"{1 - counted / total:.1%} of the pixels are of the ignored class {ignored}"
    first = next(iter(arrays.values())).images.shape[1:]
    for role, array in arrays.items():
        if array.images.shape[1:] != first:
            raise DataError(
                f"{words[role]}images of data set {settings.name!r} have the shape {list(array.images.shape[1:])}, and "
                f"the training images {list(first)}; they must be the same (data.image_size, data.root)"
            )
    return DataSource(
        train=arrays["train"],
        validation=arrays.get("validation"),
        test=arrays.get("test"),
        classes=tuple(printable(name) for name in classes),
        remarks=(*remarks, *([] if ignored is None else [share])),
    )


def _resized(settings: DataSettings, part: _Part, which: str) -> _Part:
    """Check the images and masks of a part, and resize them as the settings say: masks to the nearest pixel."""
    images, masks = part
    if masks.ndim != 3 or masks.dtype.kind not in "biu":
        raise DataError(
            f"{which.replace('images', 'masks')} of data set {settings.name!r} are {masks.dtype} of shape "
            f"{list(masks.shape)}; each must be whole numbers of shape [height, width] (data.root or data.name)"
        )
    if images.shape[:3] != masks.shape:
        raise DataError(
            f"{which} of data set {settings.name!r} have the shape {list(images.shape[:3])}, and their masks "
            f"{list(masks.shape)}; both must be [n, height, width] (data.root or data.name)"
        )
    if masks.size and not 0 <= int(masks.min()) <= int(masks.max()) <= 255:
        raise DataError(
            f"{which.replace('images', 'masks')} of data set {settings.name!r} have classes {masks.min()} to "
            f"{masks.max()}; they must be 0 to 255 (data.root or data.name)"
        )
    found = check_images(settings, images, which)
    if found.shape[1:3] != masks.shape[1:]:
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new)
            for new, old in zip(found.shape[1:3], masks.shape[1:], strict=True)
        )
        masks = masks[:, rows[:, None], columns]
    return _Part(found, np.ascontiguousarray(masks, np.uint8))


SEGMENTATION = Task(
    data_sets={"segmentation": load_segmentation},
    from_function=load_function,
    outputs="masks",
    heads=("skip", "fcn"),
    loss=pixel_cross_entropy,
    loss_sum=pixel_cross_entropy_sum,
    score=MEAN_IOU,
    baselines="segmentation",
    unused=("data.length", "training.auxiliary_weight", "training.cutout", *FOR_TEXTS),
)
