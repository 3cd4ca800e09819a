"""Batches from arrays that live on the device, augmented there by one gather. No files, no worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.datasets import DataSplits, ImageArrays


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Pad by `crop_padding` black pixels and crop, mirror if `flip`, blank a square of `cutout` pixels a side."""

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0


class DeviceImages:
    """One part of a data set on a device: uint8 [n, height, width, channels], and labels [n]."""

    def __init__(
        self, arrays: ImageArrays, mean: tuple[float, ...], deviation: tuple[float, ...], device: torch.device
    ) -> None:
        # A copy, because Ray's arrays are read-only views of memory that other workers share.
        self.images = torch.tensor(np.asarray(arrays.images), device=device)
        self.labels = torch.tensor(np.asarray(arrays.labels), device=device)
        self._mean = torch.tensor(mean, device=device)
        self._scale = 1 / torch.tensor(deviation, device=device)

    def __len__(self) -> int:
        return len(self.labels)

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images once, without augmentation; the last batch may be smaller."""
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            yield self._normalise(self.images[part]), self.labels[part]

    def shuffled(
        self, batch_size: int, augmentation: Augmentation, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch in random order, augmented; all batches have one size, so the last few images may be left out."""
        order = torch.randperm(len(self), generator=generator, device=self.images.device)
        size = min(batch_size, len(self))
        padding = augmentation.crop_padding
        # Padded anew each epoch: a copy of the whole part, but a cheap one, and no second copy is held between epochs.
        images = F.pad(self.images, (0, 0, padding, padding, padding, padding)) if padding else self.images
        for start in range(0, len(order) - size + 1, size):
            indices = order[start : start + size]
            batch = self._normalise(self._gather(images, indices, augmentation, generator))
            yield self._cut_out(batch, augmentation.cutout, generator), self.labels[indices]

    def _gather(
        self, images: Tensor, indices: Tensor, augmentation: Augmentation, generator: torch.Generator
    ) -> Tensor:
        if not augmentation.crop_padding and not augmentation.flip:
            return images[indices]
        device, size = images.device, (len(indices), 1)
        height, width = self.images.shape[1:3]
        rows = torch.arange(height, device=device).expand(len(indices), -1)
        columns = torch.arange(width, device=device).expand(len(indices), -1)
        if augmentation.flip:
            flipped = torch.randint(2, size, generator=generator, device=device, dtype=torch.bool)
            columns = torch.where(flipped, width - 1 - columns, columns)
        if augmentation.crop_padding:
            offsets = 2 * augmentation.crop_padding + 1
            rows = rows + torch.randint(offsets, size, generator=generator, device=device)
            columns = columns + torch.randint(offsets, size, generator=generator, device=device)
        return images[indices[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _cut_out(self, batch: Tensor, side: int, generator: torch.Generator) -> Tensor:
        """Blank a square around a random pixel, clipped at the border, with the mean (0 after normalisation)."""
        if not side:
            return batch
        inside = []
        for axis in (2, 3):
            length = batch.shape[axis]
            centre = torch.randint(length, (len(batch), 1), generator=generator, device=batch.device)
            places = torch.arange(length, device=batch.device)
            inside.append((places >= centre - side // 2) & (places < centre - side // 2 + side))
        return batch.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0.0)

    def _normalise(self, images: Tensor) -> Tensor:
        """Float [n, channels, height, width], channels last in memory, mean 0 and deviation 1 over the training set."""
        return ((images.float() - self._mean) * self._scale).permute(0, 3, 1, 2)


class DeviceData:
    """Training and validation images on one device, put there once a worker."""

    def __init__(self, splits: DataSplits, device: torch.device) -> None:
        self.device = device
        self.train = DeviceImages(splits.train, splits.mean, splits.deviation, device)
        self.validation = DeviceImages(splits.validation, splits.mean, splits.deviation, device)
