"""About a hundred odd inputs. Each ends in a right answer or in one line about what is wrong, never in another error.

A kind of input is a function that makes one from a random generator in an empty folder, reads it, and checks the answer
if there is one. To add a kind, write such a function and put `@odd(count, refusals)` before it: the number of inputs,
and the class of the errors that are right answers too if they are one line.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from tests.image_files import write_deep_png
from trainables.datasets import DataSplits, load_data
from trainables.image_arrays import DataError
from trainables.settings import DataSettings, printable

Generator = np.random.Generator
Kind = Callable[[Generator, Path], None]

KINDS: list[tuple[Kind, int, type[Exception]]] = []


def odd(count: int, refusals: type[Exception]) -> Callable[[Kind], Kind]:
    """Register a kind of odd input; a seed for each of `count`."""

    def register(kind: Kind) -> Kind:
        KINDS.append((kind, count, refusals))
        return kind

    return register


def pick(generator: Generator, values: Any) -> Any:
    return values[generator.integers(len(values))]


def often(generator: Generator, probability: float = 0.8) -> bool:
    return bool(generator.random() < probability)


# Folders of pictures. The red channel of a picture says its class, the blue one its part.

CLASSES = [
    "cat",
    "dog",
    os.fsdecode(b"caf\xe9"),
    "two words",
    "new\nline",
    "Ärzte",
    "train",
    "test tube",
    "-x",
    "a.png",
]
LAYOUTS = [
    [""],
    [""],
    ["train", "test"],
    ["Training", "Testing"],
    ["TRAIN", "val"],
    ["train", "valid", "Test"],
    ["training_set", "test_set"],
    ["seg_train", "seg_test"],
    ["train"],
    ["fold1", "fold2"],
    ["train", "training"],
    ["val", "test"],
    ["wrapped"],
]
STEP = 20
BLUE = [0, 100, 200]


def write_picture(generator: Generator, path: Path, red: int, blue: int) -> None:
    """A picture of one colour, in a random format and mode that keep it."""
    mode = pick(generator, ["RGB", "RGB", "RGB", "RGBA", "P"])
    suffix = pick(generator, ["png", "PNG", "gif", "bmp", "tif", "webp"])
    side = int(generator.integers(1, 20))
    exif = Image.Exif()
    exif[0x0112] = int(generator.integers(0, 12))  # 9 and above are no orientations
    picture = Image.new("RGB", (side, 5), (red, 30, blue)).convert(mode, palette=Image.Palette.ADAPTIVE)
    options: dict[str, Any] = {"exif": exif} if suffix.lower() in ("png", "webp") else {}
    options |= {"lossless": True} if suffix == "webp" else {}
    if suffix in ("gif", "bmp"):
        picture = picture.convert("RGB")
    picture.save(path.with_name(f"{path.name}.{suffix}"), **options)


def spoil(generator: Generator, folder: Path) -> None:
    """Add something that does not belong into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / pick(generator, ["odd.png", "odd.jpg", "odd.gif", "odd.txt", "odd", os.fsdecode(b"\xff.png")])
    if place.is_symlink() or place.exists():
        return
    match generator.integers(10):
        case 0:
            place.write_bytes(b"")
        case 1:
            place.write_bytes(generator.bytes(200))
        case 2:
            Image.new("RGB", (50, 50), (9, 9, 9)).save(place, "PNG")
            place.write_bytes(place.read_bytes()[: generator.integers(1, 100)])
        case 3:
            write_deep_png(place, pick(generator, [0, 2, 4, 6]))
        case 4:
            Image.new("RGB", (4, 4)).save(place, "PNG")  # claims to be huge
            content = bytearray(place.read_bytes())
            content[16:24] = (99_999).to_bytes(4, "big") * 2
            content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
            place.write_bytes(content)
        case 5:
            os.mkfifo(place)
        case 6:
            place.symlink_to(folder / "nowhere")
        case 7:
            (folder / "circle").symlink_to(folder.parent)
        case 8:
            (folder / pick(generator, [".DS_Store", "Thumbs.db", "desktop.ini"])).write_bytes(b"x")
        case _:
            (folder / pick(generator, [".cache", ".ipynb_checkpoints", "__MACOSX", "empty"])).mkdir(exist_ok=True)


@odd(45, DataError)
def image_folders(generator: Generator, folder: Path) -> None:
    names = list(generator.permutation(CLASSES)[: generator.integers(1, 5)])
    parts = pick(generator, LAYOUTS)
    for part, blue in zip(parts, BLUE, strict=False):
        for number, name in enumerate(names):
            below = folder / part / name
            below.mkdir(parents=True)
            for index in range(generator.integers(0, 3) if generator.random() < 0.05 else 12):
                write_picture(generator, below / str(index), STEP * number, blue)
    for _ in range(pick(generator, [0, 0, 1, 1, 2])):
        spoil(generator, folder.joinpath(*pick(generator, [[], [parts[0]], [parts[0], names[0]], [".cache"]])))
    splits = load_data(DataSettings(name="image_folder", root=str(folder), image_size=4), seed=0)
    check(splits)
    for part in (splits.train, splits.validation, splits.test):
        for image, label in zip(part.images, part.labels, strict=True):
            assert (image == image[0, 0]).all()
            assert splits.classes[label] == printable(names[int(image[0, 0, 0]) // STEP])
    blues = [set(part.images[..., 2].ravel().tolist()) for part in (splits.train, splits.validation, splits.test)]
    wanted = {1: [{0}, {0}, {0}], 2: [{0}, {0}, {100}], 3: [{0}, {100}, {200}]}
    assert blues == wanted[len(parts)]


def check(splits: DataSplits) -> None:
    """What holds for all images that were read."""
    splits.summary().encode()
    assert "\n" not in repr(splits.describe()["sha256"])
    assert len(set(splits.classes)) == len(splits.classes) >= 2
    for part in (splits.train, splits.validation, splits.test):
        assert len(part) == len(part.images) > 0
        assert part.images.dtype == np.uint8
        assert part.images.shape[1:] == splits.train.images.shape[1:]
        assert 0 <= part.labels.min() <= part.labels.max() < len(splits.classes)


# Arrays. The pixels of an image are the number of its class.


def odd_labels(generator: Generator, numbers: Any) -> tuple[Any, list[str]]:
    """Labels of a random kind for class numbers 0, 1, 2, and the names that the classes should get."""
    words = np.array(["ant", "bee", "caf\u00e9"])
    kind = generator.integers(9)
    return (
        (numbers, ["0", "1", "2"]),
        (numbers.astype(pick(generator, ["uint8", "int16", "float32", "uint64"])), ["0", "1", "2"]),
        (numbers - 1, ["-1", "0", "1"]),
        (words[numbers], list(words)),
        (np.char.encode(words, "utf-8")[numbers], list(words)),
        (np.char.encode(words, "latin-1")[numbers], ["ant", "bee", "caf\\xe9"]),
        (np.eye(3, dtype=pick(generator, ["uint8", "float64", "bool"]))[numbers], ["0", "1", "2"]),
        (numbers + 0.25, []),
        (numbers.astype(pick(generator, ["datetime64[D]", "complex64"])), []),
    )[kind]


def odd_images(generator: Generator, numbers: Any) -> Any:
    """Images of a random shape, most often a right one."""
    shape = pick(
        generator,
        [(4, 4), (6, 5, 3), (7, 7, 1), (5, 5, 2)] if often(generator, 0.93) else [(), (9,), (3, 9, 9), (0, 4)],
    )
    images = np.broadcast_to(numbers.reshape(-1, *[1] * len(shape)), (len(numbers), *shape))
    return images.astype(
        np.uint8 if often(generator, 0.95) else pick(generator, ["float32", "int64", "uint16", "bool"])
    )


def odd_part(generator: Generator, count: int) -> tuple[Any, Any, list[str]]:
    numbers = np.arange(count) % 3
    labels, names = odd_labels(generator, numbers)
    return odd_images(generator, numbers), labels[: None if often(generator, 0.95) else -1], names


def check_arrays(splits: DataSplits, names: list[str], *, is_resized: bool) -> None:
    check(splits)
    assert list(splits.classes) == names
    for part in (splits.train, splits.validation, splits.test):
        assert (part.images == part.labels[:, None, None, None]).all()
        assert not is_resized or part.images.shape[1:3] == (6, 6)


@odd(35, DataError)
def archives(generator: Generator, folder: Path) -> None:
    images, labels, names = odd_part(generator, 90)
    arrays = {"images": images, "labels": labels, "extra": np.zeros(3)}
    if not often(generator, 0.93):
        arrays.pop(pick(generator, list(arrays)))
    for prefix in ("test_", "validation_"):
        if not often(generator):
            arrays |= {f"{prefix}images": images[:9], f"{prefix}labels": labels[:9]}
        if not often(generator, 0.97):
            arrays |= {f"{prefix}images": odd_images(generator, np.arange(9) % 3)}
    path = folder / "odd.npz"
    np.savez(path, **arrays)
    match generator.integers(20):
        case 0:
            path.write_bytes(path.read_bytes()[: generator.integers(2000)])
        case 1:
            content = bytearray(path.read_bytes())
            content[generator.integers(len(content))] ^= 255
            path.write_bytes(content)
            names = []  # whatever can still be read need not be right
        case 2:
            with path.open("wb") as file:
                np.save(file, images)
        case 3:
            np.savez(path, images=images, labels=np.array([object()] * 90))
    size = pick(generator, [None, 6])
    splits = load_data(DataSettings(name="npz", root=str(path), image_size=size), seed=0)
    check(splits)
    if names:
        check_arrays(splits, names, is_resized=size is not None)


@odd(45, DataError)
def data_functions(generator: Generator, folder: Path) -> None:
    forms: list[Callable[[Any, Any], Any]] = [
        lambda images, labels: (images, labels),
        lambda images, labels: [images, labels],
        lambda images, labels: list(zip(images, labels, strict=False)),
        lambda images, labels: tuple(zip(images, labels, strict=False)),
        lambda images, labels: [(Image.fromarray(image.squeeze()), label) for image, label in zip(images, labels)],  # noqa: B905
        lambda images, labels: TensorDataset(torch.tensor(images), torch.tensor(labels)),
        lambda images, labels: [(image.tolist(), label) for image, label in zip(images, labels, strict=False)],
        lambda images, labels: zip(images, labels, strict=False),
        lambda images, labels: {"images": images, "labels": labels},
        lambda images, labels: dict(enumerate(zip(images, labels, strict=False))),
        lambda images, labels: [(image, label, None) for image, label in zip(images, labels, strict=False)],
        lambda images, labels: images,
    ]
    images, labels, names = odd_part(generator, 90)
    form = pick(generator, forms[:6] if often(generator) else forms)

    def make(**options: Any) -> Any:
        if not often(generator, 0.95):
            raise pick(generator, [SystemExit(3), KeyError("x"), RuntimeError("two\nlines"), StopIteration()])
        whole = form(images, labels)
        return whole if often(generator, 0.7) else pick(generator, [tuple, list])((whole, form(images[:9], labels[:9])))

    module = ModuleType("odd_data")
    module.make = make  # type: ignore[attr-defined]
    sys.modules["odd_data"] = module
    size = pick(generator, [None, 6])
    options = {"side": 3} if often(generator, 0.5) else {}
    check_arrays(
        load_data(DataSettings(name="odd_data:make", options=options, image_size=size), seed=0),
        names,
        is_resized=size is not None,
    )


@pytest.mark.parametrize(
    ("kind", "seed", "refusals"),
    [
        pytest.param(kind, seed, refusals, id=f"{kind.__name__}-{seed}")
        for kind, count, refusals in KINDS
        for seed in range(count)
    ],
)
def test_an_odd_input_ends_in_a_right_answer_or_one_line(
    kind: Kind, seed: int, refusals: type[Exception], tmp_path: Path
) -> None:
    try:
        kind(np.random.default_rng(seed), tmp_path)
    except refusals as error:
        text = str(error)
        text.encode()
        assert text
        assert "\n" not in text
