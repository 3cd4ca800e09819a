"""A baseline as a value: a known network by its name, for images of some size and some classes. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BaselineSpec:
    """Everything that decides a baseline.

    Args:
        baseline: its name; `trainables.baselines.baseline_names` has them all.
        classes: number of classes, at least 2.
        image_channels: channels of the images.
        image_size: height and width of the images in pixels.
    """

    baseline: str
    classes: int
    image_channels: int
    image_size: tuple[int, int]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BaselineSpec:
        """Inverse of `to_json`.

        Raises:
            ValueError: the value is not of that form.
        """
        try:
            return cls(**{**value, "image_size": tuple(value["image_size"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a baseline: {error}") from error
