"""A network as a value: an architecture, macro rules, depth and width. Does not know torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from search_spaces import Architecture
from trainables.layers import Embedding, Size
from trainables.settings import NetworkSettings, TrainingSettings
from trainables.skeleton import NASNET_CIFAR, Skeleton


def embedding_of(tokens: int | None, network: NetworkSettings, training: TrainingSettings) -> Embedding | None:
    """The first layer for so many different tokens; None for data that are not tokens."""
    return None if tokens is None else Embedding(tokens, network.embedding, training.word_dropout)


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """All values that determine a network.

    Raises:
        ValueError: a value is out of its range. `plan_network` checks whether the values fit together.
    """

    architecture: Architecture
    """The two cells."""
    skeleton: Skeleton = NASNET_CIFAR
    """The macro rules."""
    repeats: int
    """N, normal cells per stage; one fewer in a later stage if the skeleton's reduction cell replaces one. With three
    stages, there is a reduction cell before the second and the third."""
    filters: int
    """F, channels of every operation in the first stage; doubled at each reduction cell."""
    classes: int
    """Number of outputs: one for each class, of which there are at least 2, or for each number to predict."""
    image_channels: int = 3
    """Channels of the images."""
    embedding: Embedding | None = None
    """The first layer, which gives each token of a text its channels. `image_channels` is then 1, the token itself.
    None: the input is numbers."""
    image_size: Size = (32, 32)
    """Height and width of the images in pixels, or the length of sequences."""
    drop_path_probability: float = 0.0
    """The largest probability of dropping an operation's output, at least 0 and below 1: 0.4 for NASNet-A on CIFAR-10.
    It is reached at the end of the training. With some skeletons it grows with depth too, up to the last cell."""
    dropout: float = 0.0
    """Probability of dropping a feature before the classifier, at least 0 and below 1."""
    auxiliary_head: bool = False
    """Whether to add a second classifier, for training only, at the skeleton's place."""
    head: str = "classifier"
    """What makes outputs of the feature maps: `classifier`, the decoder `fcn` or `skip`, or `module:NAME`."""

    def __post_init__(self) -> None:
        for name, minimum in (("repeats", 1), ("filters", 2), ("classes", 1), ("image_channels", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < minimum:
                raise ValueError(f"{name} is {value!r}; a whole number of at least {minimum} is needed")
        for name in ("drop_path_probability", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if len(self.image_size) not in (1, 2) or not all(type(side) is int and side >= 1 for side in self.image_size):
            raise ValueError(
                f"image_size is {self.image_size}; a height and a width of at least 1 pixel, or the length of a "
                "sequence, are needed"
            )
        if self.embedding is not None and (len(self.image_size), self.image_channels) != (1, 1):
            raise ValueError(
                f"image_channels is {self.image_channels} and image_size is {self.image_size}; an embedding needs "
                "sequences of one channel"
            )
        if not isinstance(self.skeleton, Skeleton):
            raise ValueError(f"skeleton is {self.skeleton!r}, which is not a Skeleton")

    def to_json(self) -> dict[str, Any]:
        """All values as JSON."""
        return {**asdict(self), "architecture": self.architecture.to_json(), "image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NetworkSpec:
        """Inverse of `to_json`.

        Raises:
            ValueError: the value does not have that form.
        """
        try:
            return cls(
                **{
                    **value,
                    "architecture": Architecture.from_json(value["architecture"]),
                    "skeleton": Skeleton.from_json(value["skeleton"]),
                    "image_size": tuple(value["image_size"]),
                    "embedding": Embedding(**value["embedding"]) if value.get("embedding") else None,
                }
            )
        except KeyError as error:
            raise ValueError(f"not a network: {error} is missing") from error
        except TypeError as error:
            raise ValueError(f"not a network: unknown or malformed field: {error}") from error
