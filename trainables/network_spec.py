"""A network as a value: an architecture, the rules by which it is repeated, and how often and how wide. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from search_spaces import Architecture
from trainables.skeleton import NASNET_CIFAR, Skeleton


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """Everything that decides a network.

    Args:
        architecture: the two cells.
        skeleton: the macro rules; see `trainables.skeleton`.
        repeats: N, normal cells a stage; there are three stages with a reduction cell between two.
        filters: F, channels of every operation in the first stage; doubled at each reduction cell.
        classes: number of classes, at least 2.
        image_channels: channels of the images.
        image_size: height and width of the images in pixels.
        drop_path_probability: chance to drop an operation's output in the last cell at the end of the training; it
            grows linearly with the training, and as the skeleton says with the depth. 1 - 0.6 for NASNet-A on CIFAR-10.
        dropout: chance to drop a feature before the classifier.
        auxiliary_head: adds a second classifier, for training only, where the skeleton says.

    Raises:
        ValueError: a value is out of its range. `plan_network` tells whether a network can be made of them all.
    """

    architecture: Architecture
    skeleton: Skeleton = NASNET_CIFAR
    repeats: int
    filters: int
    classes: int
    image_channels: int = 3
    image_size: tuple[int, int] = (32, 32)
    drop_path_probability: float = 0.0
    dropout: float = 0.0
    auxiliary_head: bool = False

    def __post_init__(self) -> None:
        for name, least in (("repeats", 1), ("filters", 2), ("classes", 2), ("image_channels", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}; a whole number of at least {least} is needed")
        for name in ("drop_path_probability", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if len(self.image_size) != 2 or not all(type(side) is int and side >= 1 for side in self.image_size):
            raise ValueError(f"image_size is {self.image_size}; a height and a width of at least 1 pixel are needed")
        if not isinstance(self.skeleton, Skeleton):
            raise ValueError(f"skeleton is {self.skeleton!r}, which is no Skeleton")

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "architecture": self.architecture.to_json(), "image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NetworkSpec:
        """Inverse of `to_json`.

        Raises:
            ValueError: the value is not of that form.
        """
        try:
            return cls(
                **{
                    **value,
                    "architecture": Architecture.from_json(value["architecture"]),
                    "skeleton": Skeleton.from_json(value["skeleton"]),
                    "image_size": tuple(value["image_size"]),
                }
            )
        except KeyError as error:
            raise ValueError(f"not a network: {error} is missing") from error
        except TypeError as error:
            raise ValueError(f"not a network: {error}") from error
