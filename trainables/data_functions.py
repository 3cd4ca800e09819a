"""Reads what a user's function returns as a data set: map-style data sets of (image, label), or arrays."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainables.class_folders import ROLES, Role
from trainables.image_arrays import IMAGES, DataError, DataSource, ExampleCheck, RawPart, make_source
from trainables.pictures import resize_image, to_pixels
from trainables.plugins import import_plugin
from trainables.reading import AS_PICTURE, Reading
from trainables.settings import DataSettings

_SEVERAL = "or two or three of them: (training, test) or (training, validation, test)"
ACCEPTED = f"a map-style data set of (image, label), a pair of arrays (images, labels), {_SEVERAL}"
_PartT = TypeVar("_PartT")


def load_function(settings: DataSettings, kind: ExampleCheck = IMAGES, reading: Reading = AS_PICTURE) -> DataSource:
    """The result of `module:function`, called with `data.options`.

    Args:
        settings: have the name and the options.
        kind: what the examples must be.
        reading: how a file becomes a further example.

    Raises:
        DataError: the function raised an error, or did not return `ACCEPTED`.
    """
    made = call_function(settings)
    with _failures_of(settings, ": its result"):
        parts = _parts(made)
        if not 1 <= len(parts) <= 3:
            raise _wrong(settings, f"{type(made).__name__} of {len(parts)} data sets")
        found = _by_role([_read(settings, part) for part in parts])
        return make_source(
            settings,
            found["train"],
            validation=found.get("validation"),
            test=found.get("test"),
            names=_class_names(parts[0]),
            kind=kind,
            reading=reading,
        )


def call_function(settings: DataSettings) -> Any:
    """What `module:function` returns, called with `data.options`.

    Raises:
        DataError: there is no such function, or it raised an error.
    """
    with _failures_of(settings, ""):
        try:
            function = import_plugin(settings.name)
        except ValueError as error:
            raise DataError(f"data.name is {settings.name!r}, but {error}") from error
        return function(**settings.options)


def call_for_pairs(settings: DataSettings, is_pair: Callable[[Any], bool], what: str) -> dict[Role, Any]:
    """The pairs that `module:function` returns, by their parts.

    Args:
        settings: have the name and the options.
        is_pair: whether a value is a pair of examples and answers.
        what: such a pair, in words.

    Raises:
        DataError: there is no such function, it raised an error, or it returned something else.
    """
    made = call_function(settings)
    several = made if isinstance(made, list | tuple) and not is_pair(made) else (made,)
    if not 1 <= len(several) <= len(ROLES) or not all(map(is_pair, several)):
        raise _wrong(settings, type(made).__name__, accepted=f"{what}, {_SEVERAL}")
    return _by_role(several)


def _by_role(parts: Sequence[_PartT]) -> dict[Role, _PartT]:
    """One part is all examples, two are training and test, three training, validation and test."""
    roles: Sequence[Role] = ROLES if len(parts) == len(ROLES) else ("train", "test")
    return dict(zip(roles, parts, strict=False))


@contextlib.contextmanager
def _failures_of(settings: DataSettings, what: str) -> Iterator[None]:
    """Turn whatever the user's code raises into one line. What it prints goes to standard error."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for the result of the command
            yield
    except DataError:
        raise
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines()
        raise DataError(
            f"data.name = {settings.name!r}{what} raised {type(error).__name__}{': ' + lines[0] if lines else ''}"
        ) from error


def _parts(made: Any) -> Sequence[Any]:
    """The data sets that the function returned: several in a tuple or list, or one."""
    if not isinstance(made, tuple | list) or _is_array_pair(made):
        return [made]
    # A list or tuple of pairs (image, label) is one data set; a short one of data sets is several.
    several = isinstance(made, tuple) or (0 < len(made) <= 3 and all(_is_data_set(part) for part in made))
    return made if several and not all(map(_is_item, made)) else [made]


def _is_array_pair(value: Any) -> bool:
    """Whether this is (images, labels) as two arrays."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        return False
    shapes = [getattr(part, "shape", ()) for part in value]
    return len(shapes[0]) in (3, 4) and len(shapes[1]) in (1, 2)


def _is_item(value: Any) -> bool:
    """Whether this is one (image, label)."""
    from PIL import Image

    if not isinstance(value, tuple | list) or len(value) != 2 or _is_array_pair(value):
        return False
    return isinstance(value[0], Image.Image) or len(getattr(value[0], "shape", ())) in (2, 3)


def _is_data_set(value: Any) -> bool:
    return _is_array_pair(value) or (
        hasattr(value, "__getitem__")
        and hasattr(value, "__len__")
        and not hasattr(value, "shape")
        and not _is_item(value)
    )


def _read(settings: DataSettings, data: Any) -> RawPart:
    """Read one data set."""
    if _is_array_pair(data):
        return np.asarray(data[0]), np.asarray(data[1])
    if isinstance(data, str | bytes | dict) or not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise _wrong(settings, type(data).__name__)
    if not len(data):
        raise DataError(f"data.name = {settings.name!r} returns an empty data set")
    images: list[NDArray[np.uint8]] = []
    labels: list[Any] = []
    for index in range(len(data)):
        with _failures_of(settings, f": item {index}"):
            item = data[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            what = f"{type(item).__name__}{f' of {len(item)} values' if isinstance(item, tuple | list) else ''}"
            raise DataError(f"data.name = {settings.name!r}: item {index} is a {what}; it must be (image, label)")
        try:
            images.append(to_pixels(item[0]))
        except ValueError as error:
            raise DataError(f"data.name = {settings.name!r}: item {index}: {error}") from error
        labels.append(_label(settings, index, item[1]))
    if (size := settings.height_and_width) is not None:
        images = [resize_image(image, size) for image in images]
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        counts = {shape[2:] for shape in shapes}
        advice = "set data.image_size" if len(counts) == 1 else "convert all to the same channels"
        raise DataError(
            f"data.name = {settings.name!r} returns images of several sizes or channels, such as "
            f"{' and '.join(str(list(shape)) for shape in sorted(shapes)[:2])}; {advice}"
        )
    kinds = {np.asarray(label).dtype.kind for label in labels}
    if len(kinds) > 1 and not kinds <= set("biuf"):
        raise DataError(f"data.name = {settings.name!r} returns labels of several types; use one type for all")
    try:
        return np.stack(images), np.asarray(labels)
    except ValueError as error:  # one-hot rows of several lengths
        raise DataError(
            f"data.name = {settings.name!r} returns labels of several shapes; use one shape for all"
        ) from error


def _label(settings: DataSettings, index: int, label: Any) -> Any:
    """A label as a plain value, or as a one-hot row."""
    value = np.asarray(label)
    if value.dtype.kind not in "biufUS" or value.ndim > 1:
        raise DataError(
            f"data.name = {settings.name!r}: item {index} has the label {label!r:.80}; it must be a whole number, "
            "text or a one-hot row"
        )
    return value.item() if value.ndim == 0 else value


def _class_names(data: Any) -> list[str] | None:
    """The class names of a data set or of the one that it is a subset of; None if it has none."""
    names = getattr(data, "classes", None) or getattr(getattr(data, "dataset", None), "classes", None)
    return list(names) if isinstance(names, tuple | list) and all(isinstance(name, str) for name in names) else None


def _wrong(settings: DataSettings, what: str, accepted: str = ACCEPTED) -> DataError:
    return DataError(f"data.name = {settings.name!r} returns {what}; it must return {accepted}")
