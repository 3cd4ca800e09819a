"""A baseline as a value: the name of a known network, the image size and the classes. Does not know torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Baselines = Literal["classification", "segmentation"]
"""A kind of torchvision's models."""


@dataclass(frozen=True, kw_only=True)
class BaselineSpec:
    """All values that determine a baseline."""

    baseline: str
    """One of `trainables.baselines.baseline_names()`."""
    classes: int
    """Number of classes, at least 2."""
    image_channels: int
    """Channels of the images."""
    image_size: tuple[int, int]
    """Height and width of the images in pixels."""

    def to_json(self) -> dict[str, Any]:
        """All values as JSON."""
        return {**asdict(self), "image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BaselineSpec:
        """Inverse of `to_json`.

        Raises:
            ValueError: the value does not have that form.
        """
        try:
            return cls(**{**value, "image_size": tuple(value["image_size"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a baseline: {error}") from error
