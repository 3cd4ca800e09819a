"""The classification of images, each of one class."""

from __future__ import annotations

import numpy as np

from trainables.image_arrays import DataSource, make_source
from trainables.image_folder import load_image_folder
from trainables.npz_file import load_npz
from trainables.settings import DataSettings
from trainables.tasks.task import FOR_MASKS, FOR_TEXTS, Task
from trainables.torchvision_data import TORCHVISION


def _digits(settings: DataSettings) -> DataSource:
    """1,797 handwritten digits, 8x8, grey; comes with scikit-learn (Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return make_source(settings, (images, digits.target), names=[str(label) for label in range(10)])


IMAGES = Task(
    data_sets={"digits": _digits, **TORCHVISION, "image_folder": load_image_folder, "npz": load_npz},
    is_drawn=True,
    baselines="classification",
    unused=("data.length", *FOR_MASKS, *FOR_TEXTS),
)
