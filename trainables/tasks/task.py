"""A task as a value: all that cellscout must know about a kind of data. No torch.

Nothing else depends on what the data are. Spaces, skeletons, operations and costs take sizes of one axis or two. A
training procedure of the user's own may have another loss and further metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from trainables.baseline_spec import Baselines
from trainables.data_functions import load_function
from trainables.heads import CLASSIFIER
from trainables.image_arrays import DataSource
from trainables.reading import AS_PICTURE, Reading
from trainables.settings import DataSettings, NetworkSettings, Settings, TrainingSettings
from trainables.tasks.classes import ACCURACY, cross_entropy, cross_entropy_sum
from trainables.tasks.score import Score

if TYPE_CHECKING:
    from torch import Tensor


Outputs = Literal["classes", "masks", "numbers"]
"""What the outputs of a network for an example are: a logit for each class, such logits for each pixel, or numbers."""


FOR_MASKS = ("data.ignored_class", "network.decoder")
"""Settings that mean nothing for other data than masks."""


def read_pictures(value: Mapping[str, Any]) -> Reading:
    """The reading of pictures, whose JSON is empty."""
    return AS_PICTURE


FOR_TEXTS = (
    *("data.unit", "data.lower_case", "data.vocabulary", "data.min_count", "data.vectors"),
    *("network.embedding", "training.word_dropout"),
)
"""Settings that mean nothing for other data than texts."""

SECTIONS: Mapping[str, type[Settings]] = {
    "data": DataSettings,
    "network": NetworkSettings,
    "training": TrainingSettings,
}
"""The sections of a search file whose settings may mean nothing for a task."""
_SETTINGS = frozenset(f"{section}.{name}" for section, kind in SECTIONS.items() for name in kind.model_fields)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What networks learn: the data, the meaning of the outputs, the loss and the score.

    Raises:
        ValueError: `unused` has an entry that is no setting.
    """

    data_sets: Mapping[str, Callable[[DataSettings], DataSource]]
    """What loads each data set, by its name in a search file. The first line of its docstring describes it."""
    from_function: Callable[[DataSettings], DataSource] = load_function
    """What loads a data set of the user's own, whose name is `module:function`."""
    axes: int = 2
    """The number of axes of an example: 2 for images, 1 for sequences. Operations that do not exist for so many are
    left out of the space."""
    reading: Callable[[Mapping[str, Any]], Reading] = read_pictures
    """Makes the reading of files from its JSON in a record or an exported file."""
    outputs: Outputs = "classes"
    """What a network says of an example; `predict` shows it."""
    heads: tuple[str, ...] = (CLASSIFIER,)
    """The heads that a network can have, by the names in `heads.py`; the first is the default of `network.decoder`."""
    skeleton: str | None = None
    """The default of `network.skeleton`; None: that of the space."""
    is_drawn: bool = False
    """Whether `explain` can draw what in an example speaks for a class."""
    baselines: Baselines | None = None
    """Which of torchvision's models can be trained on the data; None: none."""
    unused: tuple[str, ...] = ()
    """Settings that mean nothing for the data, as `section.key`. They must keep their defaults; those that come with a
    preset are left out."""
    loss: Callable[[Tensor, Tensor, TrainingSettings], Tensor] = cross_entropy
    """The mean loss of a batch of outputs and answers, which a training minimises."""
    loss_sum: Callable[[Tensor, Tensor], Tensor] = cross_entropy_sum
    """The sum over a batch of each example's loss, as it is recorded of validation and test examples."""
    score: Score = ACCURACY
    """What `train_accuracy` and `val_accuracy` are."""

    def __post_init__(self) -> None:
        for key in self.unused:
            if key not in _SETTINGS:
                raise ValueError(f"unused has {key!r}; it must be a tuple of settings such as 'data.length'")

    def load(self, settings: DataSettings) -> DataSource:
        """Read the data set that the settings name; DataError if it cannot be used."""
        load = self.data_sets.get(settings.name, self.from_function)
        return load(settings)
