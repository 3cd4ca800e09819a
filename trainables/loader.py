"""Batches from arrays on the device, cropped and mirrored there by one gather. No files, no worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.datasets import DataSplits
from trainables.image_arrays import IGNORED, ImageArrays
from trainables.tasks.table import find_task


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to training images."""

    crop_padding: int = 0
    """Pad by this many black pixels, then crop to the original size."""
    flip: bool = False
    """Mirror an image with probability 0.5."""
    cutout: int = 0
    """Side in pixels of a square to blank."""


class DeviceImages:
    """One part of a data set on a device: `images` and `labels` as in `ImageArrays`.

    Args:
        arrays: the images; they are copied.
        mean, deviation: of the pixels (0..255) or samples per channel; batches are normalised by them. Empty: the
            examples are tokens.
        device: where the images are kept and batches are made.
    """

    def __init__(
        self, arrays: ImageArrays, *, mean: tuple[float, ...], deviation: tuple[float, ...], device: torch.device
    ) -> None:
        # A copy, because Ray's arrays are read-only views of memory that other workers share.
        self.images = torch.tensor(np.asarray(arrays.images), device=device)
        self.labels = torch.tensor(np.asarray(arrays.labels), device=device)
        self._mean = torch.tensor(mean, device=device)
        self._scale = 1 / torch.tensor(deviation, device=device)

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The images with these indices [n], without augmentation, and their labels."""
        return self._normalise(self.images[indices]), _answers(self.labels[indices])

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of all images in order, without augmentation; the last batch may be smaller."""
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            yield self._normalise(self.images[part]), _answers(self.labels[part])

    def batch(self, indices: Tensor, augmentation: Augmentation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The images with these indices [n], augmented, and their labels; masks are cropped and mirrored alike.

        Nothing here waits for the device.
        """
        images, labels = self.images[indices], self.labels[indices]
        places = _cropped_and_flipped(images, augmentation, generator)
        if places is not None:
            images = _gather(images, places, augmentation.crop_padding, 0)
            if labels.dtype == torch.uint8:
                labels = _gather(labels[..., None], places, augmentation.crop_padding, IGNORED)[..., 0]
        return _cut_out(self._normalise(images), augmentation.cutout, generator), _answers(labels)

    def _normalise(self, images: Tensor) -> Tensor:
        """Convert to float [n, channels, *size], channels last in memory, with mean 0 and deviation 1.

        Tokens become int64 [n, length].
        """
        if not len(self._mean):
            return images[..., 0].long()
        return ((images.float() - self._mean) * self._scale).movedim(-1, 1)


def _answers(labels: Tensor) -> Tensor:
    """Labels as losses take them; masks are kept in 8 bits."""
    return labels.long() if labels.dtype == torch.uint8 else labels


def _cropped_and_flipped(
    images: Tensor, augmentation: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor] | None:
    """Draw from which row and column of the padded images [n, height, width, channels] each pixel is taken.

    Returns None if images are neither cropped nor mirrored.
    """
    padding = augmentation.crop_padding
    if not padding and not augmentation.flip:
        return None
    device, size = images.device, (len(images), 1)
    height, width = images.shape[1:3]
    rows = torch.arange(height, device=device).expand(len(images), -1)
    columns = torch.arange(width, device=device).expand(len(images), -1)
    if augmentation.flip:
        flipped = torch.randint(2, size, generator=generator, device=device, dtype=torch.bool)
        columns = torch.where(flipped, width - 1 - columns, columns)
    if padding:
        offsets = 2 * padding + 1
        rows = rows + torch.randint(offsets, size, generator=generator, device=device)
        columns = columns + torch.randint(offsets, size, generator=generator, device=device)
    return rows, columns


def _gather(images: Tensor, places: tuple[Tensor, Tensor], padding: int, value: int) -> Tensor:
    """Take the pixels of images [n, height, width, channels], which are padded with a value, in one gather."""
    rows, columns = places
    if padding:
        images = F.pad(images, (0, 0, padding, padding, padding, padding), value=value)
    numbers = torch.arange(len(images), device=images.device)
    return images[numbers[:, None, None], rows[:, :, None], columns[:, None, :]]


def _cut_out(batch: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Blank a square around a random pixel, clipped at the border, with the mean (0 after normalisation).

    Needs a batch that is already normalised: [n, channels, height, width].
    """
    if not side:
        return batch
    inside = []
    for axis in (2, 3):
        length = batch.shape[axis]
        centre = torch.randint(length, (len(batch), 1), generator=generator, device=batch.device)
        places = torch.arange(length, device=batch.device)
        inside.append((places >= centre - side // 2) & (places < centre - side // 2 + side))
    return batch.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0.0)


class DeviceData:
    """Training and validation images on one device, and what is learned from them; a worker copies them there once."""

    def __init__(self, splits: DataSplits, device: torch.device) -> None:
        self.device = device
        self.vectors = None if splits.vectors is None else torch.tensor(splits.vectors, device=device)
        """Initial vectors of the tokens; None: random ones."""
        self.task = find_task(splits.task)
        self.train, self.validation = (
            DeviceImages(part, mean=splits.mean, deviation=splits.deviation, device=device)
            for part in (splits.train, splits.validation)
        )
