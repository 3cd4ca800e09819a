from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.image_files import write_fashion_mnist, write_folders
from trainables.datasets import DataSplits, load_data
from trainables.image_arrays import DataError
from trainables.settings import DataSettings


def write_npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def small(path: Path, images: int = 60, classes: int = 3, **more: Any) -> str:
    generator = np.random.default_rng(0)
    return write_npz(
        path,
        images=generator.integers(0, 256, (images, 6, 5, 3), dtype=np.uint8),
        labels=np.arange(images) % classes,
        **more,
    )


def identities(part: Any) -> set[bytes]:
    return {image.tobytes() for image in part.images}


def test_digits_are_real_and_split_class_by_class() -> None:
    splits = load_data(DataSettings(validation_fraction=0.2), seed=0)
    facts = splits.describe()
    assert (facts["train"], facts["validation"], facts["test"]) == (1149, 288, 360)
    assert facts["image_shape"] == [8, 8, 1]
    assert splits.train.images.dtype == np.uint8
    assert splits.train.images.max() == 255
    for part in (splits.train, splits.validation, splits.test):
        shares = np.bincount(part.labels) / len(part)
        assert shares == pytest.approx(np.full(10, 0.1), abs=0.012)
    np.testing.assert_allclose(facts["mean"], splits.train.images.mean())


def test_the_split_depends_on_the_seed_alone() -> None:
    first, again, other = (load_data(DataSettings(), seed) for seed in (1, 1, 2))
    assert first.describe() == again.describe()
    assert first.describe()["sha256"] != other.describe()["sha256"]


def test_no_image_is_in_two_parts(tmp_path: Path) -> None:
    splits = load_data(DataSettings(name="npz", root=small(tmp_path / "a.npz")), seed=0)
    parts = [identities(part) for part in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 60


def test_an_official_test_set_is_used_unchanged(tmp_path: Path) -> None:
    tests = np.full((4, 6, 5, 3), 7, np.uint8)
    path = small(tmp_path / "a.npz", test_images=tests, test_labels=np.array([0, 1, 2, 0]))
    splits = load_data(DataSettings(name="npz", root=path), seed=0)
    np.testing.assert_array_equal(splits.test.images, tests)
    assert len(splits.train) + len(splits.validation) == 60


def test_limit_bounds_training_and_validation_together(tmp_path: Path) -> None:
    path = small(tmp_path / "a.npz", images=300)
    splits = load_data(DataSettings(name="npz", root=path, limit=100), seed=0)
    assert len(splits.train) + len(splits.validation) == 100
    assert np.bincount(splits.train.labels) == pytest.approx([30, 30, 30], abs=1)
    assert len(splits.test) == 60


@pytest.mark.parametrize("limit", [9, 10, 46, 47, 48])
def test_a_limit_near_the_number_of_images_is_respected(limit: int, tmp_path: Path) -> None:
    path = small(tmp_path / "a.npz")  # 48 images remain without the test images
    settings = DataSettings(name="npz", root=path, limit=limit, validation_fraction=0.4)
    splits = load_data(settings, seed=0)
    assert limit - 3 <= len(splits.train) + len(splits.validation) <= limit


def test_a_limit_above_the_data_changes_nothing() -> None:
    unlimited, limited = (load_data(DataSettings(limit=limit), seed=0) for limit in (None, 10_000))
    assert unlimited.describe() == limited.describe()


def test_labels_of_any_values_become_classes(tmp_path: Path) -> None:
    images = np.zeros((40, 4, 4), np.uint8)
    path = write_npz(tmp_path / "a.npz", images=images, labels=np.array(["cat", "ant"] * 20))
    splits = load_data(DataSettings(name="npz", root=path), seed=0)
    assert splits.classes == ("ant", "cat")
    assert set(splits.train.labels) == {0, 1}
    assert splits.train.images.shape[1:] == (4, 4, 1)


@pytest.mark.parametrize(
    ("names", "classes", "remarks"),
    [(["ant", "bee"], ("ant", "bee"), ()), ([7, 8], ("0", "1"), ("left out: the arrays classes",))],
    ids=["texts", "numbers"],
)
def test_an_archive_may_name_its_classes(
    names: list[Any], classes: tuple[str, ...], remarks: tuple[str, ...], tmp_path: Path
) -> None:
    arrays = {"images": np.zeros((40, 4, 4), np.uint8), "labels": np.arange(40) % 2, "classes": np.array(names)}
    splits = load_data(DataSettings(name="npz", root=write_npz(tmp_path / "a.npz", **arrays)), seed=0)
    assert (splits.classes, tuple(splits.remarks)) == (classes, remarks)


def test_one_folder_per_class(tmp_path: Path) -> None:
    write_folders(tmp_path, {"cats": 20, "dogs": 30})
    splits = load_data(DataSettings(name="image_folder", root=str(tmp_path), image_size=[8, 6]), seed=0)
    assert splits.classes == ("cats", "dogs")
    assert splits.train.images.shape[1:] == (8, 6, 3)
    assert (splits.train.images[splits.train.labels == 1][..., 0] == 40).all()
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 50


def test_folders_of_train_and_test(tmp_path: Path) -> None:
    write_folders(tmp_path / "train", {"a": 20, "b": 20})
    write_folders(tmp_path / "test", {"a": 3, "b": 4})
    splits = load_data(DataSettings(name="image_folder", root=str(tmp_path)), seed=0)
    assert splits.classes == ("a", "b")
    assert len(splits.test) == 7
    assert splits.train.images.shape[1:] == (32, 32, 3)


def test_resizing_keeps_the_channels(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for channels in (1, 2, 3, 5):
        images = generator.integers(0, 256, (40, 9, 7, channels), dtype=np.uint8)
        path = write_npz(tmp_path / "a.npz", images=images, labels=np.arange(40) % 2)
        splits = load_data(DataSettings(name="npz", root=path, image_size=6), seed=0)
        assert splits.train.images.shape[1:] == (6, 6, channels)


def test_torchvisions_file_layout_is_read(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path)
    splits = load_data(DataSettings(name="fashion_mnist", root=str(tmp_path)), seed=0)
    assert len(splits.train) + len(splits.validation) == 100
    assert len(splits.test) == 20
    assert splits.train.images.shape[1:] == (28, 28, 1)
    assert splits.classes[9] == "Ankle boot"


def write_cifar10(root: Path) -> None:
    import pickle

    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        pixels = np.zeros((20, 3, 32, 32), np.uint8)
        pixels[:, 0] = 200  # red
        entry = {"data": pixels.reshape(20, -1), "labels": [index % 10 for index in range(20)]}
        (folder / name).write_bytes(pickle.dumps(entry))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {index}" for index in range(10)]}))


def write_svhn(root: Path) -> None:
    from scipy.io import savemat

    for name in ("train", "test"):
        pixels = np.zeros((32, 32, 3, 40), np.uint8)
        pixels[:, :, 0] = 200
        savemat(root / f"{name}_32x32.mat", {"X": pixels, "y": (np.arange(40) % 10)[:, None]})


@pytest.mark.parametrize(("name", "write"), [("cifar10", write_cifar10), ("svhn", write_svhn)])
def test_colour_images_have_their_channels_last(
    name: str, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10, SVHN

    write(tmp_path)
    for data_set in (CIFAR10, SVHN):  # the made-up files have wrong checksums
        monkeypatch.setattr(data_set, "_check_integrity", lambda _self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    splits = load_data(DataSettings(name=name, root=str(tmp_path), validation_fraction=0.5), seed=0)
    assert splits.train.images.shape[1:] == (32, 32, 3)
    assert (splits.train.images == [200, 0, 0]).all()
    assert len(splits.classes) == 10


def from_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, **settings: Any) -> DataSplits:
    (tmp_path / "own_data.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_data", None)
    return load_data(DataSettings(name="own_data:make", **settings), seed=0)


BALLS = """
from torch import arange, full, uint8
from torch.utils.data import TensorDataset
def make(count=40, test=False):
    data = TensorDataset(full((count, 8, 8, 3), 5, dtype=uint8), arange(count) % 2)
    return (data, TensorDataset(full((4, 8, 8, 3), 6, dtype=uint8), arange(4) % 2)) if test else data
"""


def test_a_users_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = from_function(tmp_path, monkeypatch, BALLS, options={"count": 50})
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 50
    assert splits.classes == ("0", "1")


def test_a_function_may_return_a_test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = from_function(tmp_path, monkeypatch, BALLS, options={"test": True}, image_size=6)
    assert splits.test.images.shape == (4, 6, 6, 3)
    assert (splits.test.images == 6).all()


def test_a_function_may_return_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
from PIL import Image
def make():
    return [(Image.new("L", (5 + index % 3, 7)), index % 2) for index in range(40)]
"""
    splits = from_function(tmp_path, monkeypatch, body, image_size=[6, 9])
    assert splits.train.images.shape[1:] == (6, 9, 1)
    with pytest.raises(
        DataError, match="several sizes or channels, such as .*7, 5.* and .*7, 6.*; set data.image_size"
    ):
        from_function(tmp_path, monkeypatch, body)


@pytest.mark.parametrize("image_size", [None, 6])
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            "np.full((8, 8, 3), 0.5, np.float32)",
            r"an image is float32 of shape \[8, 8, 3\]; it must be uint8 \(0..255\)",
        ),
        ("np.full((8, 8), 40_000, np.uint16)", r"an image is uint16 of shape \[8, 8\]"),
        ("np.zeros((3, 16, 16), np.uint8)", r"of shape \[3, 16, 16\]; .* \[height, width\(, channels\)\]"),
        ("Image.fromarray(np.full((8, 8), 40_000, np.uint16))", r"more than 8 bits per channel \(mode I;16\)"),
    ],
)
def test_images_of_other_types_or_shapes_are_refused(
    image: str, message: str, image_size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "import numpy as np\nfrom PIL import Image\n"
    body += f"def make():\n    return [({image}, index % 2) for index in range(40)]\n"
    with pytest.raises(DataError, match=message):
        from_function(tmp_path, monkeypatch, body, image_size=image_size)


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("P", 3)])
def test_bilevel_and_palette_pictures_are_converted(
    mode: str, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "from PIL import Image\n"
    body += f"def make():\n    return [(Image.new('L', (8, 8), 255).convert({mode!r}), n % 2) for n in range(40)]\n"
    for size in (None, 6):
        images = from_function(tmp_path, monkeypatch, body, image_size=size).train.images
        assert images.shape[3] == channels
        assert (images == 255).all()


def test_a_constant_channel_does_not_divide_by_zero(tmp_path: Path) -> None:
    images = np.zeros((40, 4, 4, 2), np.uint8)
    images[:20, ..., 0] = 255
    path = write_npz(tmp_path / "a.npz", images=images, labels=np.arange(40) // 20)
    assert load_data(DataSettings(name="npz", root=path), seed=0).deviation[1] == 1.0


UINT8 = np.zeros((40, 4, 4), np.uint8)
LABELS = np.arange(40) % 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": UINT8}, "holds the arrays pictures; 'images' is missing"),
        ({"images": UINT8}, "holds the arrays images; 'labels' is missing"),
        ({"images": UINT8, "labels": LABELS, "test_images": UINT8}, "'test_labels' is missing"),
        ({"images": UINT8, "labels": LABELS[:39]}, r"has 40 images but labels of shape \[39\]"),
        ({"images": UINT8, "labels": LABELS[:, None]}, r"labels of shape \[40, 1\]"),
        (
            {"images": UINT8 / 255, "labels": LABELS},
            r"are float64 of shape \[40, 4, 4\]; each must be uint8 \(0..255\)",
        ),
        ({"images": UINT8[:, 0], "labels": LABELS}, r"are uint8 of shape \[40, 4\]"),
        ({"images": np.zeros((40, 3, 9, 9), np.uint8), "labels": LABELS}, r"are uint8 of shape \[40, 3, 9, 9\]"),
        ({"images": UINT8[:0], "labels": LABELS[:0]}, "are empty"),
        ({"images": UINT8, "labels": LABELS * 0}, r"has 1 class \('0'\); at least 2 are needed"),
        ({"images": UINT8, "labels": LABELS, "test_images": UINT8, "test_labels": LABELS + 1}, "has the label .*2"),
        (
            {"images": UINT8, "labels": np.arange(40) // 38},
            r"class '1' has 2 of 40 images; a class needs at least 3, one for each .* \(training, validation, test\)",
        ),
        (
            {"images": UINT8, "labels": np.arange(40) // 39, "test_images": UINT8, "test_labels": LABELS},
            r"class '1' has 1 of 40 images; a class needs at least 2, one for each part .* \(training, validation\)",
        ),
    ],
)
def test_malformed_arrays_are_refused(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_data(DataSettings(name="npz", root=write_npz(tmp_path / "a.npz", **arrays)), seed=0)


def test_a_fraction_that_leaves_a_class_without_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"data.validation_fraction = 0.04 leaves a part without .* '0', which has 16 of 48 images"
    ):
        load_data(
            DataSettings(name="npz", root=small(tmp_path / "a.npz"), validation_fraction=0.04),
            seed=0,
        )


def test_errors_about_missing_data_name_the_settings_to_change(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    with pytest.raises(
        DataError, match=r"data.root = .*absent' is not a folder .set data.root, or data.download = true"
    ):
        load_data(DataSettings(name="fashion_mnist", root=absent), seed=0)
    with pytest.raises(DataError, match="is not an .npz file of plain arrays"):
        load_data(DataSettings(name="npz", root=absent), seed=0)
    with pytest.raises(DataError, match="absent' is not a folder"):
        load_data(DataSettings(name="image_folder", root=absent), seed=0)
    with pytest.raises(
        DataError, match="data.name is 'no_such_module:make', but module 'no_such_module' cannot be imported"
    ):
        load_data(DataSettings(name="no_such_module:make"), seed=0)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (1, "{0} cannot be read as a picture; repair or remove it (data.root)"),
        (2, "2 pictures cannot be used: {0} cannot be read as a picture; {1} cannot be read as a picture; repair or"),
        (4, "4 pictures cannot be used, the first: {0} cannot be read as a picture; {1} "),
    ],
)
def test_broken_pictures_are_named_at_once(broken: int, message: str, tmp_path: Path) -> None:
    write_folders(tmp_path, {"a": 3, "b": 3})
    places = [tmp_path / "b" / f"broken{number}.png" for number in range(broken)]
    for place in places:
        place.write_text("no picture")
    with pytest.raises(DataError, match=re.escape(message.format(*places))):
        load_data(DataSettings(name="image_folder", root=str(tmp_path)), seed=0)


def test_a_picture_of_16_bits_is_refused_and_not_clipped(tmp_path: Path) -> None:
    write_folders(tmp_path, {"a": 3, "b": 3})
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "b" / "deep.png")
    with pytest.raises(DataError, match=r"deep.png: .* more than 8 bits per channel \(mode I;16\)"):
        load_data(DataSettings(name="image_folder", root=str(tmp_path)), seed=0)


def test_reading_arrays_executes_no_code(tmp_path: Path) -> None:
    """An .npz may hold pickles, which run code when they are read."""
    path = write_npz(tmp_path / "a.npz", images=UINT8, labels=np.array([object()] * 40))
    with pytest.raises(DataError, match="is not an .npz file of plain arrays"):
        load_data(DataSettings(name="npz", root=path), seed=0)
