"""Images with masks: how they are read, split, augmented and scored, and what is refused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from orchestrator.config.loading import load_config, parse_config
from orchestrator.errors import ConfigError
from orchestrator.search.passed import PassedParts
from orchestrator.search.setup import SearchComponents
from tests.commands import run
from tests.documentation import ROOT
from tests.mask_files import SIZE, rectangles, write_mask_folders, write_mask_npz
from tests.stepping import PLAN
from trainables.assignment import Resample
from trainables.datasets import DataSplits, load_data
from trainables.folds import resample_splits
from trainables.image_arrays import IGNORED, DataError, ImageArrays
from trainables.loader import Augmentation, DeviceImages
from trainables.settings import DataSettings, TrainingSettings
from trainables.tasks.pixels import MEAN_IOU, pixel_cross_entropy, pixel_cross_entropy_sum


def read(root: Path, **settings: Any) -> DataSplits:
    return load_data(DataSettings(name="segmentation", root=str(root), **settings), seed=0)


@pytest.fixture(scope="module")
def outputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [3, 4, 5, 6] and masks with ignored pixels, the last of them wholly ignored."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(4, (3, 5, 6), generator=generator)
    masks[0, :2], masks[2] = IGNORED, IGNORED
    return torch.randn(3, 4, 5, 6, generator=generator), masks


def test_the_score_is_that_of_scikit_learn(outputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    from sklearn.metrics import jaccard_score

    logits, masks = outputs
    sums = sum(MEAN_IOU.sums(logits[part], masks[part]).double() for part in (slice(0, 1), slice(1, 3)))
    assert isinstance(sums, torch.Tensor)
    counted = masks != IGNORED
    true, found = masks[counted].numpy(), logits.argmax(dim=1)[counted].numpy()
    assert MEAN_IOU.value(sums, 3) == pytest.approx(jaccard_score(true, found, average="macro"))
    assert MEAN_IOU.by_class is not None
    assert MEAN_IOU.by_class(sums) == pytest.approx(jaccard_score(true, found, average=None).tolist())


def test_parts_may_be_below_the_folders_of_images_and_masks(tmp_path: Path) -> None:
    for part, count in (("train", 20), ("val", 10), ("test", 6)):
        write_mask_folders(tmp_path / "above", count, part)
        for kind in ("images", "masks"):
            shutil.copytree(tmp_path / "above" / part / kind, tmp_path / "below" / kind / part)
    above, below = read(tmp_path / "above"), read(tmp_path / "below")
    assert [len(part) for part in (below.train, below.validation, below.test)] == [20, 10, 6]
    assert below.describe() == above.describe()
    assert "train images from 'images/train', validation images from 'images/val'" in below.summary()


def test_names_of_classes_keep_their_places(tmp_path: Path) -> None:
    write_mask_folders(tmp_path)
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfsky\nroad\ncar\n\n")
    assert read(tmp_path).classes == ("sky", "road", "car")
    (tmp_path / "classes.txt").write_text("sky\n\ncar\n")
    with pytest.raises(DataError, match="line 2 of .*classes.txt is empty"):
        read(tmp_path)


def test_a_limit_keeps_as_many_masks_however_many_classes_there_are(tmp_path: Path) -> None:
    images, masks = rectangles(40)
    masks[0, :2] = np.arange(2, 2 + 2 * SIZE[1]).reshape(
        2, -1
    )  # many classes, which a split of masks does not need in every part
    splits = read(write_mask_npz(tmp_path / "a.npz", images=images, masks=masks), limit=20, test_fraction=0.1)
    assert len(splits.train) + len(splits.validation) == 20


def test_a_class_that_occurs_nowhere_is_left_out_of_the_mean() -> None:
    logits = torch.eye(3)[torch.tensor([[[0, 0, 1, 1]]])].movedim(-1, 1)
    sums = MEAN_IOU.sums(logits, torch.tensor([[[0, 1, 1, 1]]]))
    assert MEAN_IOU.by_class is not None
    assert MEAN_IOU.by_class(sums) == [1 / 2, 2 / 3, None]
    assert MEAN_IOU.value(sums, 1) == pytest.approx((1 / 2 + 2 / 3) / 2)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 4.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_pytorchs_mean_over_the_pixels_that_count(
    outputs: tuple[torch.Tensor, torch.Tensor], weights: list[float] | None, smoothing: float
) -> None:
    logits, masks = outputs
    settings = TrainingSettings(class_weights=weights, label_smoothing=smoothing)
    expected = F.cross_entropy(
        logits,
        masks,
        weight=None if weights is None else torch.tensor(weights),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(pixel_cross_entropy(logits, masks, settings), expected)
    assert pixel_cross_entropy(logits[2:], masks[2:], settings) == 0  # nothing counts
    alone = [F.cross_entropy(logits[n : n + 1], masks[n : n + 1], ignore_index=IGNORED) for n in range(2)]
    torch.testing.assert_close(pixel_cross_entropy_sum(logits, masks), alone[0] + alone[1])


def test_a_mask_is_cropped_and_mirrored_as_its_image_is() -> None:
    masks = np.random.default_rng(0).integers(0, 3, (6, 7, 9)).astype(np.uint8)
    arrays = ImageArrays(np.repeat(masks[..., None], 2, axis=3) + 1, masks)  # a padded pixel is 0
    images = DeviceImages(arrays, mean=(0.0, 0.0), deviation=(1.0, 1.0), device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    seen, answers = images.batch(torch.arange(6), Augmentation(crop_padding=2, flip=True), generator)
    assert answers.dtype == torch.int64
    assert (answers == IGNORED).any()
    assert not torch.equal(answers, torch.from_numpy(masks).long())
    torch.testing.assert_close(seen[:, 1], torch.where(answers == IGNORED, 0, answers + 1).float())


def test_an_archive_is_read_with_its_parts_and_an_ignored_class(tmp_path: Path) -> None:
    images, masks = rectangles(20)
    arrays: dict[str, Any] = {
        f"{part}_{name}": value
        for part in ("train", "val", "test")
        for name, value in (("images", images), ("masks", masks))
    }
    np.savez(tmp_path / "a.npz", **arrays)
    splits = read(tmp_path / "a.npz", ignored_class=2)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [20, 20, 20]
    assert splits.classes == ("0", "1")
    np.testing.assert_array_equal(splits.train.labels, np.where(masks == 2, IGNORED, masks))
    assert f"{(masks == 2).mean():.1%} of the pixels are of the ignored class 2" in splits.summary()
    facts = splits.describe()
    assert (facts["image_shape"], facts["outputs"], facts["largest_class"]) == ([*SIZE, 3], "masks", None)


@pytest.mark.parametrize("with_parts", [False, True])
def test_folders_are_read_with_the_names_of_the_classes(tmp_path: Path, with_parts: bool) -> None:
    for part in ("train", "test") if with_parts else ("",):
        write_mask_folders(tmp_path, 20, part)
    (tmp_path / "classes.txt").write_text("ground\nred\ngreen\n")
    splits = read(tmp_path, test_fraction=0.25, validation_fraction=0.2)
    assert splits.classes == ("ground", "red", "green")
    assert len(splits.test) == (20 if with_parts else 5)
    if with_parts:
        images, masks = rectangles(20)
        np.testing.assert_array_equal(splits.test.images, images)
        np.testing.assert_array_equal(splits.test.labels, masks)


def test_masks_are_resized_to_the_nearest_pixel(tmp_path: Path) -> None:
    write_mask_folders(tmp_path, 20)
    splits = read(tmp_path, image_size=[24, 18])
    assert splits.train.images.shape[1:] == (24, 18, 3)
    assert set(np.unique(splits.train.labels)) == {0, 1, 2}
    upright = Image.fromarray(rectangles(20)[1][0]).resize((18, 24), Image.Resampling.NEAREST)
    assert any(
        np.array_equal(mask, np.asarray(upright))
        for part in (splits.train, splits.validation, splits.test)
        for mask in part.labels
    )


def test_an_archive_may_name_its_classes(tmp_path: Path) -> None:
    splits = read(write_mask_npz(tmp_path / "a.npz", classes=np.array(["ground", "red", "green"])))
    assert splits.classes == ("ground", "red", "green")


def test_a_split_is_stratified_by_the_rarest_class_if_it_can_be(tmp_path: Path) -> None:
    splits = read(write_mask_npz(tmp_path / "a.npz", 40), validation_fraction=0.25)
    assert "split at random, stratified by the class of each mask that is in the fewest masks" in splits.summary()
    assert [sum((mask == 1).any() for mask in part.labels) for part in (splits.train, splits.validation)] == [12, 4]
    fold = resample_splits(splits, Resample(seed=1, split="fold", folds=4)).validation
    assert sum((mask == 1).any() for mask in fold.labels) == 4
    _, masks = rectangles(40)
    masks[0, 0, 0] = 7  # one mask has a class of its own
    splits = read(write_mask_npz(tmp_path / "b.npz", masks=masks))
    assert splits.summary().endswith("split at random")
    assert len(resample_splits(splits, Resample(seed=1, split="fold", folds=4)).validation) == 8


def test_a_function_gives_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "from tests.mask_files import rectangles\ndef made(): return rectangles(20), rectangles(6, seed=1)\n"
    (tmp_path / "own_masks.py").write_text(body + "def wrong(): return 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("own_masks", None)
    splits = load_data(DataSettings(name="own_masks:made", task="segmentation"), seed=0)
    assert (len(splits.test), splits.classes) == (6, ("0", "1", "2"))
    with pytest.raises(DataError, match="returns int; it must return a pair of arrays"):
        load_data(DataSettings(name="own_masks:wrong", task="segmentation"), seed=0)


IMAGES, MASKS = rectangles(12)


@pytest.mark.parametrize(
    ("arrays", "settings", "message"),
    [
        ({"masks": MASKS[:, :9]}, {}, "images of data set 'segmentation' have the shape [12, 12, 16], and their masks"),
        ({"masks": MASKS[:9]}, {}, "and their masks [9, 12, 16]; both must be [n, height, width]"),
        ({"masks": MASKS.astype(float)}, {}, "masks of data set 'segmentation' are float64 of shape [12, 12, 16]"),
        ({"masks": MASKS.astype(int) - 1}, {}, "have classes -1 to 1; they must be 0 to 255"),
        ({"masks": MASKS.astype(int) * 200}, {}, "have classes 0 to 400; they must be 0 to 255"),
        ({"images": IMAGES[:1], "masks": MASKS[:1]}, {}, "data.test_fraction = 0.2 leaves a part without any of the 1"),
        ({"masks": MASKS * 0}, {}, "has 1 class ('0'); at least 2 are needed"),
        ({"masks": MASKS % 2}, {"ignored_class": 1}, "has 1 class ('0'); at least 2 are needed"),
        ({"test_images": IMAGES, "test_masks": MASKS + 1}, {}, "has the class 3 in its test_masks, which is not one"),
        ({"test_images": IMAGES[:, :, :8], "test_masks": MASKS[:, :, :8]}, {}, "test_images of data set"),
        ({"images": IMAGES.astype(float)}, {}, "images of data set 'segmentation' are float64"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(
    tmp_path: Path, arrays: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "a.npz", **{"images": IMAGES, "masks": MASKS, **arrays})
    with pytest.raises(DataError) as refused:
        read(tmp_path / "a.npz", **settings)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def _without_mask(root: Path) -> None:
    (root / "masks" / "003.png").unlink()


def _without_image(root: Path) -> None:
    (root / "images" / "003.png").unlink()


def _without_masks(root: Path) -> None:
    for path in (root / "masks").iterdir():
        path.unlink()


def _of_another_size(root: Path) -> None:
    Image.new("L", (3, 4)).save(root / "masks" / "003.png")


def _in_colours(root: Path) -> None:
    Image.new("RGB", SIZE[::-1]).save(root / "masks" / "003.png")


def _both_of_another_size(root: Path) -> None:
    Image.new("RGB", (3, 4)).save(root / "images" / "003.png")
    Image.new("L", (3, 4)).save(root / "masks" / "003.png")


def _with_few_names(root: Path) -> None:
    (root / "classes.txt").write_text("ground\nred\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_mask, "images/003.png has no picture of the same name in"),
        (_without_image, "masks/003.png has no picture of the same name in"),
        (_without_masks, "masks' has no pictures; folders 'images' and 'masks' are needed"),
        (_of_another_size, "masks/003.png has 4x3 pixels, but its image has 12x16"),
        (_in_colours, "masks/003.png is a picture of mode RGB; the pixels of a mask are numbers of classes"),
        (_both_of_another_size, "images/003.png has 4x3 pixels, but other images in its folder differ; set data."),
        (_with_few_names, "has the class 2 in its masks, which is not one of its classes: 0, 1"),
    ],
)
def test_folders_that_cannot_be_used_are_refused(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(write_mask_folders(tmp_path, 12))
    with pytest.raises(DataError) as refused:
        read(tmp_path)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": {"cutout": 4}}, "training.cutout is 4, which means nothing for segmentation data"),
        ({"training": {"auxiliary_weight": 0.4}}, "training.auxiliary_weight is 0.4, which means nothing for segmenta"),
        ({"network": {"decoder": "unet"}}, "network.decoder is 'unet'; known: fcn, skip, or 'module:NAME'"),
        ({"data": {"name": "digits"}, "network": {"decoder": "fcn"}}, "network.decoder is 'fcn', which means nothing"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        SearchComponents.of(parse_config({"data": {"name": "segmentation"}, **settings}, "x"), PassedParts())
    assert message in str(refused.value)


def test_a_preset_leaves_them_out_and_the_first_decoder_is_the_default() -> None:
    values = {"data": {"name": "segmentation"}, "training": {"preset": "nasnet-cifar"}}
    components = SearchComponents.of(parse_config(values, "x"), PassedParts())
    assert components.head == "skip"
    assert (components.config.training.cutout, components.config.training.flip) == (0, True)
    (remark,) = components.remarks
    assert remark.endswith("mean nothing for segmentation data: training.auxiliary_weight, training.cutout")


def test_each_class_needs_a_weight() -> None:
    plan = replace(PLAN, training=TrainingSettings(class_weights=[1.0, 2.0]))
    with pytest.raises(ValueError, match="training.class_weights has 2 numbers; the data has 10 classes"):
        plan.check()
    replace(plan, classes=2).check()


def test_the_example_makes_its_data_and_reads_them(tmp_path: Path) -> None:
    run(str(ROOT / "examples" / "segmentation_data.py"), cwd=tmp_path)
    config = load_config(ROOT / "examples" / "segmentation.toml", [f"data.root={tmp_path / 'shapes'}"])
    splits = load_data(config.data, 0)
    assert splits.classes == ("background", "circle", "square", "triangle")
    assert splits.train.images.shape == (384, 64, 64, 3)
    assert set(np.unique(splits.train.labels)) == {0, 1, 2, 3}
