"""What functions of users return as data sets: what is accepted, with the right values, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset, random_split

from trainables.datasets import DataSplits, load_data
from trainables.image_arrays import DataError
from trainables.settings import DataSettings

N = 60
LABELS = np.arange(N) % 2
IMAGES = np.full((N, 8, 8, 3), 5, np.uint8) + LABELS[:, None, None, None].astype(np.uint8)  # 5 for label 0, 6 for 1
TEXT = [("dog", "cat")[label] for label in LABELS]


def load(made: Any, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> DataSplits:
    """Load what a function returns (or, if it is an exception, raises)."""

    def make() -> Any:
        if isinstance(made, BaseException):
            raise made
        return made

    module = ModuleType("data_of_a_user")
    module.make = make  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return load_data(DataSettings(name="data_of_a_user:make", **settings), seed=0)


def tensors(count: int = N, side: int = 8, channels: int = 3) -> TensorDataset:
    images = torch.full((count, side, side, channels), 5, dtype=torch.uint8)
    labels = torch.arange(count) % 2
    return TensorDataset(images + labels[:, None, None, None].to(torch.uint8), labels)


class Named(Dataset[Any]):
    """A data set with class names."""

    classes = ("even", "odd")

    def __init__(self, labels: Any = LABELS) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return IMAGES[index], self.labels[index]


@pytest.mark.parametrize(
    ("made", "classes", "first"),
    [
        (tensors(), ("0", "1"), 5),
        ((tensors(),), ("0", "1"), 5),
        ((IMAGES, LABELS), ("0", "1"), 5),
        ([torch.tensor(IMAGES), torch.tensor(LABELS)], ("0", "1"), 5),
        ((IMAGES, np.array(TEXT)), ("cat", "dog"), 6),
        ((IMAGES, np.array(TEXT).astype("S")), ("cat", "dog"), 6),
        ((IMAGES, np.eye(2)[LABELS]), ("0", "1"), 5),
        ((IMAGES, LABELS.astype(float)), ("0", "1"), 5),
        ((IMAGES, LABELS == 1), ("False", "True"), 5),
        ((IMAGES, LABELS + 7), ("7", "8"), 5),
        (list(zip(IMAGES, TEXT, strict=True)), ("cat", "dog"), 6),
        (list(zip(IMAGES, np.eye(2)[LABELS], strict=True)), ("0", "1"), 5),
        (tuple(zip(IMAGES, LABELS, strict=True)), ("0", "1"), 5),
        ([[image, label] for image, label in zip(IMAGES, LABELS, strict=True)], ("0", "1"), 5),
        (Named(), ("even", "odd"), 5),
        (Named([("odd", "even")[label] for label in LABELS]), ("even", "odd"), 6),
    ],
    ids=range(16),
)
def test_one_data_set_in_many_forms(
    made: Any, classes: tuple[str, ...], first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = load(made, monkeypatch)
    assert splits.classes == classes
    assert len(splits.train) + len(splits.validation) + len(splits.test) == N
    for part in (splits.train, splits.validation, splits.test):
        assert (part.images[part.labels == 0] == first).all()
        assert (part.images[part.labels == 1] == 11 - first).all()


def arrays(count: int) -> tuple[Any, Any]:
    return IMAGES[:count], LABELS[:count]


@pytest.mark.parametrize(
    "made",
    [
        (tensors(40), tensors(8)),
        [tensors(40), tensors(8)],
        random_split(tensors(48), [40, 8], generator=torch.Generator().manual_seed(0)),
        (arrays(40), arrays(8)),
        [arrays(40), arrays(8)],
        (tensors(40), arrays(8)),
        (list(zip(IMAGES[:40], LABELS, strict=False)), list(zip(IMAGES[:8], LABELS, strict=False))),
    ],
    ids=range(7),
)
def test_two_data_sets_are_training_and_test(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = load(made, monkeypatch)
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (40, 8)


def test_three_data_sets_are_training_validation_and_test(monkeypatch: pytest.MonkeyPatch) -> None:
    made = random_split(tensors(60), [35, 10, 15], generator=torch.Generator().manual_seed(0))
    splits = load(tuple(made), monkeypatch)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (35, 10, 15)


def test_a_subset_has_the_class_names_of_its_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(random_split(Named(), [40, 20]), monkeypatch).classes == ("even", "odd")


class Gone:
    """A data set whose files do not exist."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return Path(f"/nowhere/photo{index}.jpg").read_bytes(), 0


ITEM = IMAGES[0]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (SystemExit("no licence for this data"), "' raised SystemExit: no licence for this data"),
        (RuntimeError("two\nlines"), "' raised RuntimeError: two$"),
        (Gone(), "': item 0 raised FileNotFoundError: .*photo0.jpg"),
        (None, "returns NoneType; it must return a map-style data set of"),
        ({"train": tensors()}, "returns dict; it must return"),
        (iter([]), "returns list_iterator; it must return"),
        ("flowers", "returns str; it must return"),
        ([], "returns an empty data set"),
        ((), "returns an empty data set"),
        ((IMAGES, LABELS, IMAGES, LABELS), "returns tuple of 4 data sets"),
        ((IMAGES, LABELS[:-1]), r"has 60 images but labels of shape \[59\]"),
        ((IMAGES, LABELS + 0.5), r"has the label 0.5 \(float64\); labels must be whole numbers or text"),
        ((IMAGES, LABELS * np.nan), r"has the label nan \(float64\)"),
        ((IMAGES, np.eye(2)[LABELS] * 0.9), r"labels of shape \[60, 2\]; one label per image"),
        ((IMAGES, np.array([None] * N)), r"has the label None \(object\)"),
        ((IMAGES / 255, LABELS), "are float64 of shape"),
        ([(ITEM, 0, "a.png")] * N, r"item 0 is a tuple of 3 values; it must be \(image, label\)"),
        ([{"image": ITEM, "label": 0}] * N, r"item 0 is a dict; it must be \(image, label\)"),
        ([(ITEM, None)] * N, "item 0 has the label None; it must be"),
        ([(ITEM, [0, "a"])] * N, "labels of shape"),
        ([(ITEM, 0), (ITEM, "a")] * N, "returns labels of several types"),
        ([(ITEM, np.eye(2)[0]), (ITEM, np.eye(3)[1])] * N, "returns labels of several shapes"),
        ([(ITEM, 0), (ITEM[..., 0], 1)] * N, "several sizes or channels, such as .*; convert all to the same channels"),
        ([("photo.jpg", 0)] * N, "item 0: an image is <U9 of shape"),
        (
            ([(ITEM, 0), (ITEM, 1)] * N, tensors(4, side=6)),
            r"test_images .* shape \[6, 6, 3\], and the training images",
        ),
        ((tensors(), tensors(4, channels=1)), r"test_images .* have the shape \[8, 8, 1\], and the training images"),
        ((tensors(), (IMAGES[:4], LABELS[:4] + 1)), "has the label 2 in its test_images, .* classes: 0, 1"),
        ((tensors(), tensors(4), (IMAGES[:4], LABELS[:4] + 5)), "has the label 5 in its test_images"),
    ],
    ids=range(28),
)
def test_what_is_unclear_is_refused_in_one_line(made: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=message) as refused:
        load(made, monkeypatch)
    assert "\n" not in str(refused.value)


def test_what_a_function_prints_does_not_go_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Loud(Named):
        def __getitem__(self, index: int) -> Any:
            sys.stdout.write("reading")
            return super().__getitem__(index)

    load(Loud(), monkeypatch)
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("reading")) == ("", N)
