"""A task as a value: all that cellscout must know about a kind of data. No torch.

Nothing else depends on what the data are. Spaces, skeletons, operations and costs take sizes of one axis or two; the
loss, the score and further metrics are those of the training procedure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainables.data_functions import load_function
from trainables.image_arrays import DataSource
from trainables.reading import Reading
from trainables.settings import DataSettings

FOR_TEXTS = (
    *("data.unit", "data.vocabulary", "data.min_count", "data.vectors"),
    *("network.embedding", "training.word_dropout"),
)
"""Settings that mean nothing for other data than texts."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a search can be on, and what follows from it."""

    data_sets: Mapping[str, Callable[[DataSettings], DataSource]]
    """What loads each data set, by its name in a search file. The first line of its docstring describes it."""
    axes: int
    """The number of axes of an example: 2 for images, 1 for sequences. Operations that do not exist for so many are
    left out of the space."""
    reading: Callable[[Mapping[str, Any]], Reading]
    """Makes the reading of files from its JSON in a record or an exported file."""
    is_drawn: bool
    """Whether an example can be shown as a picture, so that `explain` can draw what speaks for a class."""
    has_baselines: bool
    """Whether torchvision's classification models can be trained on the data."""
    unused: tuple[str, ...]
    """Settings that mean nothing for the data, as `section.key`. They must keep their defaults; those that come with a
    preset are left out."""

    def load(self, settings: DataSettings) -> DataSource:
        """Read the data set that the settings name; DataError if it cannot be used."""
        load = self.data_sets.get(settings.name, load_function)
        return load(settings)
