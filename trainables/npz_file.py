"""Reads NumPy archives of examples and labels. No torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.image_arrays import DataError, DataSource, RawPart, make_source
from trainables.settings import DataSettings, printable


class Archive(NamedTuple):
    """What an `.npz` file holds."""

    parts: dict[str, RawPart]
    """Examples and answers by their prefix: empty, `validation_`, `test_`."""
    names: list[str] | None
    """The names of the classes; None if the file does not have them."""
    remarks: list[str]


def load_npz(settings: DataSettings) -> DataSource:
    """A NumPy archive with `images` and `labels`, and optionally others that begin with `validation_` and `test_`."""
    parts, names, remarks = read_npz(settings, "images", "labels")
    return make_source(
        settings,
        parts[""],
        validation=parts.get("validation_"),
        test=parts.get("test_"),
        names=names,
        remarks=remarks,
    )


def read_npz(settings: DataSettings, examples: str, answers: str) -> Archive:
    """Read the arrays of these names, and the names of the classes from a one-dimensional array of text, `classes`.

    `train_` may stand for the empty prefix, and `val_` for `validation_`.

    Raises:
        DataError: the file is not an archive of plain arrays, or lacks one.
    """
    try:
        with np.load(settings.root, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except MemoryError:
        raise
    except Exception as error:  # NumPy raises exceptions of many classes on a malformed file
        # NumPy's own message recommends to unpickle the file, which would run any code in it.
        raise DataError(
            f"data.root = {settings.root!r} is not an .npz file of plain arrays as numpy.savez writes it"
        ) from error
    parts: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    for prefix, other in (("", "train_"), ("validation_", "val_"), ("test_", "test_")):
        used = prefix if f"{prefix}{examples}" in arrays or f"{other}{examples}" not in arrays else other
        pair = (f"{used}{examples}", f"{used}{answers}")
        missing = [name for name in pair if name not in arrays]
        if missing and (not prefix or len(missing) == 1):
            raise DataError(
                f"data.root = {settings.root!r} holds the arrays {', '.join(arrays) or 'none'}; {missing[0]!r} is "
                "missing"
            )
        if not missing:
            parts[prefix] = (arrays.pop(pair[0]), arrays.pop(pair[1]))
    names = None
    if "classes" in arrays and (arrays["classes"].dtype.kind, arrays["classes"].ndim) == ("U", 1):
        names = arrays.pop("classes").tolist() or None
    remarks = [f"left out: the arrays {', '.join(sorted(map(printable, arrays)))}"] if arrays else []
    return Archive(parts, names, remarks)
