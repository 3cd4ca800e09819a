"""A network as a value: an architecture and how often, how wide and with which ends it is repeated. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from search_spaces import Architecture


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """Everything that decides a network of the CIFAR skeleton (Zoph et al. 2018, section 3.1; TF-slim `nasnet.py`).

    Args:
        architecture: the two cells.
        repeats: N, normal cells a stage; there are three stages with a reduction cell between two.
        filters: F, channels of every operation in the first stage; doubled at each reduction cell.
        classes: number of classes, at least 2.
        image_channels: channels of the images.
        image_size: height and width of the images in pixels.
        stem_multiplier: the stem has `stem_multiplier * filters` channels.
        drop_path_probability: chance to drop an operation's output in the last cell at the end of the training; it
            grows linearly with the depth and with the training, 0 turns it off. 1 - 0.6 for NASNet-A on CIFAR-10.
        dropout: chance to drop a feature before the classifier.
        auxiliary_head: adds a second classifier before the second reduction cell, for training only.

    Raises:
        ValueError: a value is out of its range.
    """

    architecture: Architecture
    repeats: int
    filters: int
    classes: int
    image_channels: int = 3
    image_size: tuple[int, int] = (32, 32)
    stem_multiplier: int = 3
    drop_path_probability: float = 0.0
    dropout: float = 0.0
    auxiliary_head: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("repeats", 1),
            ("filters", 2),  # a factorised reduction splits them in two
            ("classes", 2),
            ("image_channels", 1),
            ("stem_multiplier", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; at least {least} is needed")
        for name in ("drop_path_probability", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if min(self.image_size) < 1:
            raise ValueError(f"image_size is {self.image_size}; at least 1 pixel is needed")
        if self.auxiliary_head and min(self.image_size) < 9:
            raise ValueError(
                f"image_size is {self.image_size}; an auxiliary head needs at least 9x9 pixels, because it pools 5x5 "
                "windows at half the resolution"
            )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "architecture": self.architecture.to_json(), "image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NetworkSpec:
        """Inverse of `to_json`.

        Raises:
            ValueError: the value is not of that form.
        """
        try:
            height, width = value["image_size"]
            return cls(
                **{
                    **value,
                    "architecture": Architecture.from_json(value["architecture"]),
                    "image_size": (height, width),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a network: {error}") from error
