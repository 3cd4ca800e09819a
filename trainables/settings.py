"""What a user may set about the data, the network and its training: typed, documented, checked. No torch.

A field's description is what the reference shows; its bounds are what the error names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainables.presets import PRESETS

Probability = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, or nothing where none is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


class Settings(BaseModel):
    """Base of every section of a search file: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class DataSettings(Settings):
    """`[data]`: which images, and how they are split."""

    name: str = "digits"
    """A built-in data set (`cellscout list datasets`), or `module:function`, a function that returns a map-style data
    set of (image, label), or a pair of them (training, test)."""
    root: str = "data"
    """Folder of the data set; for `npz` the file."""
    download: bool = False
    """Let torchvision download the data set into `root`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for a `module:function` data set."""
    image_size: int | None = Field(default=None, ge=4, le=1024)
    """Resize to this many pixels, height and width; unset: as they are (`image_folder`: 32)."""
    limit: int | None = Field(default=None, ge=2)
    """Use at most this many images for training and validation together, drawn class by class."""
    validation_fraction: Fraction = 0.1
    """Part of the training images that is held out to score candidates."""
    test_fraction: Fraction = 0.2
    """Part that is put aside as test set where the data set has none of its own. A search never touches it."""

    @model_validator(mode="after")
    def _options_have_a_taker(self) -> Self:
        if self.options and ":" not in self.name:
            raise ValueError(f"options are for a 'module:function' data set; {self.name!r} takes none")
        return self


class NetworkSettings(Settings):
    """`[network]`: the proxy that a search trains."""

    skeleton: str | None = None
    """The rules by which cells become a network (`cellscout list skeletons`); unset: as the space has it."""
    repeats: int = Field(default=2, ge=1, le=64)
    """N, normal cells a stage."""
    filters: int = Field(default=16, ge=2, le=4096)
    """F, channels of the first stage; doubled at each reduction."""
    stem_channels: int | None = Field(default=None, ge=2, le=4096)
    """Channels of the stem; unset: as the skeleton has it."""


class TrainingSettings(Settings):
    """`[training]`: how every candidate is trained, by SGD with momentum."""

    preset: str | None = None
    """A paper's recipe (`cellscout list presets`), which decides what is not set here."""
    epochs: int = Field(default=27, ge=1)
    """The whole budget of one candidate."""
    batch_size: int = Field(default=128, ge=2)
    """Images of one step."""
    learning_rate: Positive = 0.1
    """At the start of the schedule."""
    learning_rate_end: NotNegative = 0.0
    """At the end of a cosine; at most `learning_rate`."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Cosine: annealed over `epochs` (Loshchilov and Hutter 2017), in one go or with `restart_epochs`."""
    restart_epochs: int = Field(default=0, ge=0)
    """Length of the first cosine; then the learning rate starts anew, each time for twice as long. 0: one cosine."""
    momentum: Probability = 0.9
    """Of SGD."""
    nesterov: bool = True
    """Nesterov's kind of momentum."""
    weight_decay: NotNegative = 5e-4
    """L2, on convolution and linear weights; not on biases and batch norms."""
    label_smoothing: Probability = 0.0
    """How much of a label is spread over all classes (Szegedy et al. 2016)."""
    gradient_clip: NotNegative = 5.0
    """Largest norm of the whole gradient; 0: no limit."""
    drop_path_probability: Probability = 0.0
    """Of the last cell at the end of the training; grows linearly with progress, and as the skeleton says with
    depth."""
    dropout: Probability = 0.0
    """Before the classifier."""
    auxiliary_weight: NotNegative = 0.0
    """Weight of the auxiliary head's loss; 0 builds no such head."""
    crop_padding: int = Field(default=0, ge=0, le=64)
    """Pad by this many black pixels and crop at random."""
    flip: bool = False
    """Mirror every second image, at random."""
    cutout: int = Field(default=0, ge=0, le=512)
    """Side in pixels of a random square that is blanked (DeVries and Taylor 2017)."""

    def check_images(self, height: int, width: int) -> None:
        """ValueError if images of so many pixels cannot be trained on with these settings."""
        if self.cutout > min(height, width):
            raise ValueError(
                f"training.cutout is {self.cutout}; with images of {height}x{width} pixels it can be at most "
                f"{min(height, width)}"
            )

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        name = values.get("preset") if isinstance(values, dict) else None
        if not isinstance(name, str):
            return values
        if name not in PRESETS:
            raise ValueError(f"preset is {name!r}; known: {', '.join(sorted(PRESETS))}{did_you_mean(name, PRESETS)}")
        return {**PRESETS[name].settings, **values}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.learning_rate_end > self.learning_rate:
            raise ValueError(
                f"learning_rate_end is {self.learning_rate_end}; it must be at most "
                f"learning_rate = {self.learning_rate}"
            )
        if self.schedule == "constant" and (self.learning_rate_end or self.restart_epochs):
            raise ValueError(
                f"schedule is 'constant', with learning_rate_end = {self.learning_rate_end} and restart_epochs = "
                f"{self.restart_epochs}; these are for 'cosine', and must be 0"
            )
        return self


class FaultSettings(Settings):
    """`[faults]`: when a trial is given up."""

    hang_factor: Annotated[float, Field(ge=2, allow_inf_nan=False)] = 10.0
    """An epoch hangs if it takes so many times as long as the longest one that the search has seen, and `hang_seconds`.
    Its worker is then ended, and the trial has failed."""
    hang_seconds: Positive = 600.0
    """An epoch that takes less than this does not hang."""
