from __future__ import annotations

import numpy as np
import pytest
import torch

from trainables.image_arrays import ImageArrays
from trainables.loader import Augmentation, DeviceImages

CPU = torch.device("cpu")


def images(count: int = 10, height: int = 5, width: int = 4, channels: int = 3) -> DeviceImages:
    generator = np.random.default_rng(0)
    arrays = ImageArrays(
        generator.integers(1, 256, (count, height, width, channels), dtype=np.uint8), np.arange(count) % 3
    )
    return DeviceImages(arrays, mean=(0.0,) * channels, deviation=(1.0,) * channels, device=CPU)


def epoch(data: DeviceImages, batch: int, seed: int = 0, **augmentation: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    order, changes = torch.randperm(len(data), generator=generator), Augmentation(**augmentation)  # type: ignore[arg-type]
    batches = [data.batch(indices, changes, generator) for indices in order.split(batch)]
    return torch.cat([batch for batch, _ in batches]), torch.cat([labels for _, labels in batches])


def original(data: DeviceImages) -> torch.Tensor:
    return torch.cat([batch for batch, _ in data.in_order(3)])


def test_batches_are_normalised_and_channels_last() -> None:
    arrays = ImageArrays(np.full((2, 3, 3, 2), (10, 40), np.uint8), np.array([0, 1]))
    data = DeviceImages(arrays, mean=(4.0, 10.0), deviation=(2.0, 10.0), device=CPU)
    batch, labels = next(iter(data.in_order(8)))
    assert batch.shape == (2, 2, 3, 3)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(batch[:, 0], torch.full((2, 3, 3), 3.0))
    torch.testing.assert_close(batch[:, 1], torch.full((2, 3, 3), 3.0))
    assert labels.tolist() == [0, 1]


def test_in_order_gives_every_image_once() -> None:
    data = images(10)
    sizes = [len(labels) for _, labels in data.in_order(4)]
    assert sizes == [4, 4, 2]
    assert torch.equal(original(data), data.images.float().permute(0, 3, 1, 2))


def test_a_batch_holds_the_chosen_images_with_their_labels() -> None:
    data = images(10)
    batch, labels = data.batch(torch.tensor([7, 2, 5]), Augmentation(), torch.Generator())
    assert torch.equal(batch, original(data)[[7, 2, 5]])
    assert labels.tolist() == [1, 2, 2]


def test_the_generator_decides_everything() -> None:
    augmentation = {"crop_padding": 2, "flip": 1, "cutout": 2}
    first, again, other = (epoch(images(), 5, seed, **augmentation)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_flip_mirrors_about_half_of_the_images_and_nothing_else() -> None:
    data = images(400)
    batch, labels = epoch(data, 400, flip=1)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    plain = original(data)[order]
    same = (batch == plain).flatten(1).all(1)
    mirrored = (batch == plain.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 150 < mirrored.sum() < 250
    assert torch.equal(labels, data.labels[order])


def test_crop_shifts_by_up_to_the_padding_and_fills_with_black() -> None:
    data = images(300)
    batch, _ = epoch(data, 300, crop_padding=1)
    plain = original(data)[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    padded = torch.nn.functional.pad(plain, (1, 1, 1, 1))
    shifts = set()
    for one, image in zip(batch, padded, strict=True):
        matches = [
            (row, column)
            for row in range(3)
            for column in range(3)
            if torch.equal(one, image[:, row : row + 5, column : column + 4])
        ]
        assert len(matches) == 1
        shifts.add(matches[0])
    assert len(shifts) == 9


@pytest.mark.parametrize("side", [1, 2, 3])
def test_cutout_blanks_one_square_that_the_border_may_clip(side: int) -> None:
    batch, _ = epoch(images(200, 7, 9), 200, cutout=side)
    areas = set()
    for image in batch:
        blank = (image == 0).all(0)
        rows, columns = blank.any(1).nonzero().flatten(), blank.any(0).nonzero().flatten()
        assert blank.sum() == len(rows) * len(columns)
        assert rows.tolist() == list(range(int(rows[0]), int(rows[-1]) + 1))
        areas.add(int(blank.sum()))
    assert max(areas) == side * side
    assert min(areas) >= 1


def test_the_images_are_a_copy() -> None:
    """Ray's arrays are read-only views of shared memory."""
    shared = np.zeros((2, 3, 3, 1), np.uint8)
    shared.setflags(write=False)
    data = DeviceImages(ImageArrays(shared, np.array([0, 1])), mean=(0.0,), deviation=(1.0,), device=CPU)
    data.images += 1
    assert shared.sum() == 0
