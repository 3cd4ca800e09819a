"""Reads folders of pictures: one folder per class (`class_folders.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainables.class_folders import ClassFolders, Role, find_class_folders
from trainables.image_arrays import DataError, DataSource, RawPart, make_source
from trainables.pictures import PICTURES, PictureError, TooManyPixelsError, read_picture, resize_image, to_pixels
from trainables.settings import DataSettings, printable

DEFAULT_IMAGE_SIZE = 32
NAMED = 3
"""At most so many pictures that cannot be used are named."""


def load_image_folder(settings: DataSettings) -> DataSource:
    """One folder per class, directly under `root` or under parts such as `root/train` and `root/test`."""
    root = Path(settings.root)
    folders = find_class_folders(root, PICTURES)
    settings = settings.model_copy(update={"image_size": settings.image_size or DEFAULT_IMAGE_SIZE})
    found = {role: _read(root, folders, role, settings) for role in folders.parts}
    return make_source(
        settings,
        found["train"],
        validation=found.get("validation"),
        test=found.get("test"),
        names=[printable(name) for name in folders.classes],
        remarks=folders.remarks,
    )


def _read(root: Path, folders: ClassFolders, role: Role, settings: DataSettings) -> RawPart:
    """Read the pictures of one part as RGB, stretched to one size.

    Raises:
        DataError: pictures cannot be used; all are read before, so that the message has their number.
    """
    places = folders.places(role)
    size = settings.height_and_width
    assert size is not None, "image_folder has a default size"
    images = np.empty((len(places), *size, 3), np.uint8)
    problems: list[PictureError] = []
    for index, (_, place) in enumerate(places):
        try:
            picture, _ = read_picture(root.joinpath(*place), "RGB", max_pixels=settings.max_pixels)
        except PictureError as error:
            problems.append(error)
            continue
        images[index] = resize_image(to_pixels(picture), size)
    if problems:
        raise DataError(_in_words(problems))
    return images, np.array([label for label, _ in places], np.int64)


def _in_words(problems: Sequence[PictureError]) -> str:
    limit = ", data.max_pixels" if any(isinstance(one, TooManyPixelsError) for one in problems) else ""
    if len(problems) == 1:
        return f"{problems[0]}; repair or remove it (data.root{limit})"
    first = ", the first" if len(problems) > NAMED else ""
    named = "; ".join(map(str, problems[:NAMED]))
    return f"{len(problems)} pictures cannot be used{first}: {named}; repair or remove them (data.root{limit})"
