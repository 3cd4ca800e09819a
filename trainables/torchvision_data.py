"""Reads torchvision's data sets. Imports torch when one is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainables.image_arrays import DataError, DataSource, make_source
from trainables.settings import DataSettings


def _torchvision(
    class_name: str,
    about: str,
    *,
    splits: Sequence[dict[str, Any]] = ({"train": True}, {"train": False}),
    labels: str = "targets",
) -> Callable[[DataSettings], DataSource]:
    """The loader of a torchvision data set that keeps its images as arrays and has an official test set."""

    def load(settings: DataSettings) -> DataSource:
        check_root(settings)
        from torchvision import datasets

        parts = []
        for split in splits:
            try:
                data = getattr(datasets, class_name)(settings.root, download=settings.download, **split)
            except Exception as error:  # torchvision's parsers raise exceptions of any type on a broken file
                reason = next(iter(str(error).splitlines()), type(error).__name__).partition(" You can use")[0]
                if settings.download:
                    raise DataError(
                        f"{class_name} cannot be downloaded into data.root = {settings.root!r}: {reason} (check the "
                        "network, or put torchvision's files there and set data.download = false)"
                    ) from error
                raise DataError(
                    f"data.root = {settings.root!r} does not hold {class_name} in torchvision's layout: "
                    f"{reason} (set data.root, or data.download = true)"
                ) from error
            images = np.asarray(data.data)
            if images.ndim == 4 and images.shape[-1] != 3:  # SVHN keeps its channels first
                images = images.transpose(0, 2, 3, 1)
            parts.append((images, np.asarray(getattr(data, labels))))
        classes = getattr(data, "classes", [str(label) for label in range(10)])
        return make_source(settings, parts[0], test=parts[1], names=classes)

    load.__doc__ = about
    return load


def check_root(settings: DataSettings) -> None:
    """Refuse a root that does not exist, without torch.

    Raises:
        DataError: there is no such folder, and nothing is to be downloaded into it.
    """
    if not settings.download and not Path(settings.root).is_dir():
        raise DataError(f"data.root = {settings.root!r} is not a folder (set data.root, or data.download = true)")


TORCHVISION: dict[str, Callable[[DataSettings], DataSource]] = {
    "mnist": _torchvision("MNIST", "70,000 handwritten digits, 28x28, grey (LeCun et al. 1998)"),
    "fashion_mnist": _torchvision("FashionMNIST", "70,000 articles of clothing, 28x28, grey (Xiao et al. 2017)"),
    "cifar10": _torchvision("CIFAR10", "60,000 photographs of 10 classes, 32x32, colour (Krizhevsky 2009)"),
    "cifar100": _torchvision("CIFAR100", "60,000 photographs of 100 classes, 32x32, colour (Krizhevsky 2009)"),
    "svhn": _torchvision(
        "SVHN",
        "99,289 house numbers' digits, 32x32, colour (Netzer et al. 2011)",
        splits=({"split": "train"}, {"split": "test"}),
        labels="labels",
    ),
}
"""Loaders of torchvision's data sets, by their names in a search file."""
