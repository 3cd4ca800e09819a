"""The images of each training of an evaluation or a confirmation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainables.assignment import Assignment, Resample
from trainables.datasets import DataSplits, load_data
from trainables.folds import check_folds, resample_splits
from trainables.image_arrays import DataError, ImageArrays
from trainables.settings import DataSettings

FOLDS = 5


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    """Digits whose first two pixels encode the image's place; the classes have different sizes."""
    whole = load_data(DataSettings(limit=203, validation_fraction=0.2), seed=0)
    number = 0
    parts = []
    for part in (whole.train, whole.validation, whole.test):
        images = part.images.copy()
        for image in images:
            image[0, 0, 0], image[0, 1, 0] = divmod(number, 256)
            number += 1
        parts.append(ImageArrays(images, part.labels))
    train, validation, test = parts
    return replace(whole, train=train, validation=validation, test=test)


def places(part: ImageArrays) -> list[int]:
    return [int(image[0, 0, 0]) * 256 + int(image[0, 1, 0]) for image in part.images]


def cut(splits: DataSplits, seed: int = 1) -> list[DataSplits]:
    return [resample_splits(splits, Resample(seed=seed, split="fold", folds=FOLDS, fold=fold)) for fold in range(FOLDS)]


def test_folds_hold_each_training_and_validation_image_once_and_no_test_image(splits: DataSplits) -> None:
    folds = cut(splits)
    images = len(splits.train) + len(splits.validation)
    assert sorted(place for fold in folds for place in places(fold.validation)) == list(range(images))
    for fold in folds:
        assert sorted(places(fold.train) + places(fold.validation)) == list(range(images))
        assert len(fold.test) == 0


def test_each_fold_has_the_classes_in_the_proportion_of_the_whole(splits: DataSplits) -> None:
    whole = np.bincount(np.concatenate([splits.train.labels, splits.validation.labels]), minlength=10)
    for fold in cut(splits):
        counts = np.bincount(fold.validation.labels, minlength=10)
        assert (np.abs(counts - whole / FOLDS) < 1).all()


def test_labels_stay_with_their_images(splits: DataSplits) -> None:
    labels = np.concatenate([splits.train.labels, splits.validation.labels])
    for fold in cut(splits):
        for part in (fold.train, fold.validation):
            assert (labels[places(part)] == part.labels).all()


def test_the_seed_alone_decides_the_folds(splits: DataSplits) -> None:
    first, again, other = (cut(splits, seed) for seed in (1, 1, 2))
    assert [places(fold.validation) for fold in first] == [places(fold.validation) for fold in again]
    assert [places(fold.validation) for fold in first] != [places(fold.validation) for fold in other]


def test_mean_and_deviation_are_those_of_the_training_images(splits: DataSplits) -> None:
    fold = cut(splits)[2]
    assert fold.mean == pytest.approx([fold.train.images.mean()])
    assert fold.deviation == pytest.approx([fold.train.images.std()])
    assert fold.mean != splits.mean


def test_a_fresh_split_has_parts_of_the_same_size_and_classes_without_test_images(splits: DataSplits) -> None:
    fresh, again, other = (resample_splits(splits, Resample(seed=seed, split="fresh")) for seed in (1, 1, 2))
    assert sorted(places(fresh.train) + places(fresh.validation)) == list(range(203))
    assert (len(fresh.train), len(fresh.validation), len(fresh.test)) == (len(splits.train), len(splits.validation), 0)
    whole = np.bincount(splits.validation.labels, minlength=10)
    assert (np.abs(np.bincount(fresh.validation.labels, minlength=10) - whole) <= 1).all()
    assert places(fresh.validation) == places(again.validation) != places(other.validation)
    assert fresh.mean == pytest.approx([fresh.train.images.mean()])


def test_classes_with_a_single_image_do_not_hinder_a_fresh_split(splits: DataSplits) -> None:
    rare = replace(splits.train, labels=np.where(np.arange(len(splits.train)) == 0, 1, 0))
    empty = replace(splits.validation, labels=np.zeros(len(splits.validation), np.int64))
    fresh = resample_splits(replace(splits, train=rare, validation=empty), Resample(seed=1, split="fresh"))
    assert sorted(places(fresh.train) + places(fresh.validation)) == list(range(203))


def test_the_split_of_the_search_stays_without_its_test_images(splits: DataSplits) -> None:
    same = resample_splits(splits, Resample(seed=1, split="search"))
    assert places(same.train) == places(splits.train)
    assert places(same.validation) == places(splits.validation)
    assert len(same.test) == 0


def test_more_folds_than_the_rarest_class_has_images_are_refused(splits: DataSplits) -> None:
    def of_class_1(part: ImageArrays, count: int) -> ImageArrays:
        return ImageArrays(part.images, (np.arange(len(part)) < count).astype(np.int64))

    train, validation = of_class_1(splits.train, 3), of_class_1(splits.validation, 1)
    few = replace(splits, train=train, validation=validation, classes=("a", "b"))
    check_folds(few, 4)
    with pytest.raises(DataError, match="5 folds are more than the class 'b' has training and validation images, 4"):
        check_folds(few, 5)


def test_an_assignment_carries_the_resample_to_the_worker() -> None:
    resample = Resample(seed=3, split="fold", folds=5, fold=4)
    sent = Assignment(trial_id="00007", resample=resample).to_config({"a": 1})
    assert Assignment.from_config(sent) == (Assignment(trial_id="00007", resample=resample), {"a": 1})
    assert Assignment.from_config(sent)[0].resample == resample  # reading does not change the configuration
