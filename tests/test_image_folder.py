"""Layouts of folders of pictures: what is read as what, what is left out, and what is refused because it is unclear."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.image_files import write_deep_png, write_folders
from trainables.class_folders import Contents, find_parts, list_contents
from trainables.datasets import DataSplits, load_data
from trainables.image_arrays import DataError
from trainables.pictures import PICTURES
from trainables.settings import DataSettings


def load(root: Path, **settings: Any) -> DataSplits:
    return load_data(DataSettings(name="image_folder", root=str(root), image_size=8, **settings), seed=0)


def contents(*pictures: str) -> Contents:
    """The contents of a folder with these pictures."""
    places = [tuple(name.split("/")) for name in pictures]
    return Contents(places, [place[:depth] for place in places for depth in range(1, len(place))], {}, PICTURES)


def both(*folders: str) -> list[str]:
    """A picture of a cat and one of a dog in each folder."""
    return [f"{folder}/{name}/1.png" for folder in folders for name in ("cat", "dog")]


@pytest.mark.parametrize(
    ("pictures", "parts"),
    [
        (["cat/1.png", "dog/1.png"], {"train": None}),
        (both("train", "test"), {"train": "train", "test": "test"}),
        (both("Training", "Testing"), {"train": "Training", "test": "Testing"}),
        (both("TRAIN", "Val"), {"train": "TRAIN", "validation": "Val"}),
        (both("train", "valid", "test"), {"train": "train", "validation": "valid", "test": "test"}),
        (both("training_set", "test_set"), {"train": "training_set", "test": "test_set"}),
        (both("train-images", "validation-images"), {"train": "train-images", "validation": "validation-images"}),
        (both("seg_train", "seg_test"), {"train": "seg_train", "test": "seg_test"}),
        (both("train"), {"train": "train"}),
        (["car/1.png", "plane/1.png", "train/1.png"], {"train": None}),
        (["test tube/1.png", "bullet train/1.png"], {"train": None}),
        (["latest/1.png", "strain/1.png"], {"train": None}),
    ],
    ids=str,
)
def test_parts_are_recognised_by_their_names(pictures: list[str], parts: dict[str, str | None]) -> None:
    assert find_parts(contents(*pictures)) == parts


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (
            [*both("train"), "plane/1.png"],
            "the folder 'train', which looks like a part of .* beside 'plane', which does not;",
        ),
        (
            [*both("train", "test"), "extra/cat/1.png"],
            "the folders 'test', 'train', which look like parts of a data set, beside 'extra'",
        ),
        (
            ["cat/1.png", "dog/1.png", "test/1.png"],
            "'test', which looks like a part of .*, beside 'cat', 'dog', which do not",
        ),
        ([*both("test"), "cat/1.png"], "beside 'cat'"),
        (["train/1.png", "test/1.png"], "'test', which has no folders of pictures"),
        ([*both("train"), "test/1.png"], "'test', which has no folders of pictures"),
        (both("train", "Training"), "'Training' and 'train'; both look like its train part"),
        (both("test", "val"), "but none of training images"),
    ],
    ids=str,
)
def test_names_that_can_be_read_in_two_ways_are_refused(pictures: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_parts(contents(*pictures))


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("Training", "Testing"), (32, 8, 6)),  # a fifth of 40 is for validation, the test part has 6
        (("train", "valid"), (32, 8, 6)),  # a search must not see the second of two parts
        (("Train", "Val", "Test"), (40, 6, 6)),
        (("train",), (25, 7, 8)),
    ],
)
def test_parts_are_used_as_they_are(names: tuple[str, ...], sizes: tuple[int, int, int], tmp_path: Path) -> None:
    for name, count in zip(names, (20, 3, 3), strict=False):
        write_folders(tmp_path / name, {"cat": count, "dog": count})
    splits = load(tmp_path, validation_fraction=0.2)
    assert splits.classes == ("cat", "dog")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes
    for part in (splits.train, splits.validation, splits.test):
        assert (part.images[part.labels == 1][..., 0] == 40).all()
        assert (part.images[part.labels == 0][..., 0] == 0).all()


def test_a_limit_counts_given_validation_images_too(tmp_path: Path) -> None:
    for name, count in (("train", 30), ("val", 10), ("test", 4)):
        write_folders(tmp_path / name, {"cat": count, "dog": count})
    splits = load(tmp_path, limit=40)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 10, 8)


def test_the_summary_says_what_was_read_and_what_was_left_out(tmp_path: Path) -> None:
    write_folders(tmp_path / "Training", {"cat": 10, "dog": 10, ".ipynb_checkpoints": 4})
    write_folders(tmp_path / "Testing", {"cat": 2, "dog": 3})
    write_folders(tmp_path, {".cache": 3})
    for name in ("Training/cat/notes.txt", "Training/cat/more.TXT", "Training/.DS_Store", "Thumbs.db", "README"):
        (tmp_path / name).write_text("")
    Image.new("L", (4, 4)).save(tmp_path / "Training" / "loose.png")
    assert load(tmp_path).summary() == (
        "2 classes (cat, dog), 18 training, 2 validation and 5 test images; train images from 'Training', test images "
        "from 'Testing'; left out: 1 .db, 2 .txt, 3 hidden, 1 outside the folders of classes, 1 without an ending"
    )


@pytest.mark.parametrize("suffix", ["png", "gif", "jfif", "jpg", "jpe", "bmp", "tif", "webp", "ppm", "tga"])
def test_every_usual_format_is_read(suffix: str, tmp_path: Path) -> None:
    write_folders(tmp_path, {"cat": 10, "dog": 10})
    write_folders(tmp_path, {"cat": 5, "dog": 5}, suffix=suffix.upper() if suffix == "gif" else suffix)
    splits = load(tmp_path)
    found = len(splits.train) + len(splits.validation) + len(splits.test)
    assert found == (20 if suffix == "png" else 30)
    assert splits.remarks == ()


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({}, "needs one folder of pictures per class"),
        ({"cat": 3}, "has 1 class"),
        ({"cat": 3, "dog": 0}, "has the folder 'dog' without a picture"),
        (
            {"all/cat": 3, "all/dog": 3},
            "has one class, 'all', which holds the folders 'cat', 'dog'; if these",
        ),
        (
            {f"{fold}/{name}": 3 for fold in "ab" for name in ("cat", "dog")},
            "'a', 'b', and each holds the folders 'cat'",
        ),
        (
            {"train/cat": 9, "train/dog": 9, "test/cat": 1, "test/cow": 1},
            "other classes in 'test' .*: 'cow', 'dog' are",
        ),
        ({"train/cat": 9, "train/dog": 9, "test/cat": 1}, "other classes in 'test' .*: 'dog' is only in one of them"),
        ({"train/cat": 9, "train/dog": 9, "test/cat": 1, "test/dog": 0}, "has the folder 'test/dog' without a picture"),
    ],
    ids=str,
)
def test_folders_that_do_not_make_a_data_set_are_refused(folders: dict[str, int], message: str, tmp_path: Path) -> None:
    write_folders(tmp_path, folders)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_the_folder_of_one_class_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    write_folders(tmp_path, {"cat": 3})
    with pytest.raises(DataError, match="has 3 pictures and no folder; the folder that contains one folder of pict"):
        load(tmp_path / "cat")


def test_a_folder_of_other_files_alone_is_refused_with_their_number(tmp_path: Path) -> None:
    (tmp_path / "cat.heic").write_text("")
    with pytest.raises(DataError, match=r"needs one folder of pictures per class; it has 1 .heic"):
        load(tmp_path)


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    write_folders(tmp_path / "elsewhere", {"cats": 10})
    write_folders(tmp_path / "root", {"dog": 10})
    (tmp_path / "root" / "cat").symlink_to(tmp_path / "elsewhere" / "cats")
    (tmp_path / "root" / "dog" / "again").symlink_to(tmp_path / "root")
    assert len(list_contents(tmp_path / "root", PICTURES).files) == 20


def test_names_that_are_not_utf8_are_read_and_shown(tmp_path: Path) -> None:
    write_folders(tmp_path, {os.fsdecode(b"caf\xe9"): 10, "cat": 10})
    splits = load(tmp_path)
    assert splits.classes == ("caf\\xe9", "cat")
    spoilt = tmp_path / "cat" / os.fsdecode(b"\xe9t\xe9.png")
    spoilt.write_bytes(b"")
    with pytest.raises(DataError, match=r"cat/\\xe9t\\xe9.png cannot be read as a picture") as refused:
        load(tmp_path)
    str(refused.value).encode()


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    """A picture with its red half on the left, stored as a camera held upright stores it."""
    write_folders(tmp_path, {"cat": 10, "dog": 10})
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    for index in range(10):
        Image.fromarray(np.rot90(pixels)).save(tmp_path / "cat" / f"{index}.png", exif=exif)
    cats = load(tmp_path).train
    np.testing.assert_array_equal(cats.images[cats.labels == 0][0], pixels)


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
def test_a_png_of_16_bits_is_refused_whatever_its_channels(colour_type: int, tmp_path: Path) -> None:
    write_folders(tmp_path, {"cat": 3, "dog": 3})
    write_deep_png(tmp_path / "dog" / "deep.png", colour_type)
    with pytest.raises(DataError, match=r"deep.png: a picture has more than 8 bits per channel"):
        load(tmp_path)


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    write_folders(tmp_path, {"cat": 20, "dog": 20}, size=(12, 9))
    with pytest.raises(DataError, match=r"0.png has 12x9 = 108 pixels; at most 100 are read; .*data.max_pixels"):
        load(tmp_path, max_pixels=100)
    assert len(load(tmp_path, max_pixels=108).classes) == 2


def test_pillows_own_limit_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folders(tmp_path, {"cat": 20, "dog": 20}, size=(12, 9))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert len(load(tmp_path).classes) == 2
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("x"), KeyError(3), SyntaxError("not a TIFF"), EOFError()], ids=repr
)
def test_whatever_a_decoder_raises_the_picture_is_named(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    write_folders(tmp_path, {"cat": 3, "dog": 3})
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail, raising=False)
    with pytest.raises(DataError, match=r"cat/0.png cannot be read as a picture: ") as refused:
        load(tmp_path)
    assert "\n" not in str(refused.value)


def test_what_is_not_a_file_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path, {"cat": 3, "dog": 3})
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe.png cannot be read as a picture: it is not a file"):
        load(tmp_path)
    (tmp_path / "dog" / "pipe.png").unlink()
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"gone.png: there is no such file"):
        load(tmp_path)
