"""Settings of the data, the network, its training and its faults: typed, documented and checked. No torch.

The reference of the search file shows each field's docstring and bounds; errors name the bounds.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from trainables.presets import PRESETS

Probability = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

Side = Annotated[int, Field(ge=4, le=1024)]
BothSides = Annotated[list[Side], Field(min_length=2, max_length=2)]
# Tags, so that an error is about the form that was given, and not about the other one too.
ImageSize = Annotated[
    Annotated[Side, Tag("side")] | Annotated[BothSides, Tag("sides")],
    Discriminator(lambda value: "sides" if isinstance(value, list) else "side"),
]

MAX_PIXELS = 100_000_000
"""Default maximum number of pixels of a picture."""
MAX_LENGTH = 262_144
"""Maximum number of samples of a signal."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: a hint with the nearest known one; empty if none is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def did_you_mean_beside(path: Path, known: Iterable[str]) -> str:
    """The same about a path, of which only the name is unknown; `known` are the names beside it."""
    near = difflib.get_close_matches(path.name, known, n=1)
    return f"; did you mean {printable(path.parent / near[0])!r}?" if near else ""


def printable(name: object) -> str:
    """A name of a file or folder, or a message, as one line of text that can be shown and recorded.

    Bytes that are not UTF-8 become `\\xNN`; control characters become `\\n` and the like.
    """
    # Half of a UTF-16 pair, as a text may have, is no byte of a name: `surrogateescape` refuses it.
    text = re.sub(r"[\ud800-\udc7f\udd00-\udfff]", lambda found: repr(found[0])[1:-1], str(name))
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)


class Settings(BaseModel):
    """Base class of every section of a search file: immutable; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class DataSettings(Settings):
    """`[data]`: the images, signals or texts, and how they are split."""

    name: str = "digits"
    """A built-in data set (`cellscout list datasets`), or `module:function`. The function returns one data set,
    two (training, test) or three (training, validation, test); each is a map-style data set of (image, label) or a
    pair of arrays (images, labels)."""
    task: str | None = None
    """What is learned from a data set of your own: `image`, `segmentation`, `signal`, `text`, or `module:TASK`, a
    task of your own, which may define its own data sets. Unset: the task of the built-in data set, and `image` for a
    function."""
    root: str = "data"
    """Folder of the data set; for `npz`, the file; for `signal`, `text` and `segmentation`, either. A relative path is
    recorded as an absolute one."""
    download: bool = False
    """Let torchvision download the data set into `root`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for a `module:function` data set, or for a data set of your own task."""
    image_size: ImageSize | None = None
    """Resize images to this height and width in pixels, or to `[height, width]`. Unset: keep their size
    (`image_folder`: 32)."""
    max_pixels: int = Field(default=MAX_PIXELS, ge=1)
    """Maximum number of pixels of a picture in `image_folder`. Larger pictures are refused before they are decoded."""
    length: int | None = Field(default=None, ge=4, le=MAX_LENGTH)
    """Pad signals with zeros, or cut them, to this number of samples, or texts to this number of words or characters.
    Unset: arrays keep their length; WAV files are padded to the longest; texts are padded to the longest, but to at
    most 256 words or 1,024 characters; longer ones are cut."""
    unit: Literal["words", "characters"] = "words"
    """What a text is split into: `words` (and punctuation marks) or `characters`."""
    lower_case: bool = True
    """Convert texts to lower case. With `false`, `Turkey` and `turkey` are two words; this helps where names matter."""
    vocabulary: int = Field(default=20_000, ge=1, le=1_000_000)
    """Maximum size of the vocabulary: the most frequent words or characters of the training texts. All others become
    the unknown word."""
    min_count: int = Field(default=2, ge=1)
    """Words or characters that occur less often in the training texts are unknown."""
    vectors: str | None = None
    """A file of initial vectors of words in the text format of word2vec or GloVe, of `network.embedding` numbers each.
    Words that it lacks begin with random vectors."""
    ignored_class: int | None = Field(default=None, ge=0, le=255)
    """The number in masks of pixels that count neither in training nor in scores. Unset: all pixels count."""
    limit: int | None = Field(default=None, ge=2)
    """Maximum number of training and validation images together, stratified by class. Unset: use all."""
    validation_fraction: Fraction = 0.1
    """Fraction of the training images to hold out for scoring candidates if the data set has no validation images."""
    test_fraction: Fraction = 0.2
    """Fraction of the images to set aside as test set if the data set has none. A search never uses the test set."""

    @field_validator("root", "vectors")
    @classmethod
    def _check_place(cls, value: str | None) -> str | None:
        if value is not None and printable(value) != value:
            raise ValueError(
                f"{printable(value)!r} has control characters or bytes that are not UTF-8, and cannot be recorded; "
                "rename it"
            )
        return value

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if self.options and ":" not in self.name and self.task is None:
            raise ValueError(f"options are for a 'module:function' data set; {self.name!r} takes no options")
        return self

    @property
    def height_and_width(self) -> tuple[int, int] | None:
        """The size in pixels to which images are resized; None if they keep theirs."""
        if self.image_size is None or isinstance(self.image_size, int):
            return None if self.image_size is None else (self.image_size, self.image_size)
        height, width = self.image_size
        return height, width

    def located(self) -> Self:
        """The same settings with absolute paths, which are the same places from every working folder."""
        places: dict[str, str] = {}
        for name in ("root", "vectors"):
            if (place := getattr(self, name)) is not None:
                path = Path(place)
                with contextlib.suppress(RuntimeError):  # no such user; the loader says that there is no such path
                    path = path.expanduser()
                places[name] = str(path.absolute())
        return self.model_copy(update=places)


class NetworkSettings(Settings):
    """`[network]`: the small network that a search trains for each candidate."""

    skeleton: str | None = None
    """The rules for building a network from cells (`cellscout list skeletons`). Unset: `text` for texts, for other data
    the space's default."""
    repeats: int = Field(default=2, ge=1, le=64)
    """N, the number of normal cells per stage. Most skeletons have three stages, `text` has one."""
    filters: int = Field(default=16, ge=2, le=4096)
    """F, the number of channels in the first stage; doubled at each reduction."""
    stem_channels: int | None = Field(default=None, ge=2, le=4096)
    """Number of channels in the stem. Unset: the skeleton's default."""
    embedding: int = Field(default=64, ge=1, le=4096)
    """Length of the learned vector of a word or character."""
    decoder: str | None = None
    """How the feature maps become a mask. `skip`: the feature maps of all stages, summed from the coarsest to the
    finest; `fcn`: those of the last stage only. Both are enlarged bilinearly to the size of the image. Unset:
    `skip`."""


class TrainingSettings(Settings):
    """`[training]`: how every candidate is trained, by SGD with momentum."""

    preset: str | None = None
    """A paper's recipe (`cellscout list presets`), which gives the values of the keys that are not set here."""
    epochs: int = Field(default=27, ge=1)
    """The full budget of one candidate."""
    batch_size: int = Field(default=128, ge=2)
    """Images per step."""
    learning_rate: Positive = 0.1
    """Learning rate at the start of the schedule."""
    learning_rate_end: NonNegative = 0.0
    """Learning rate at the end of a cosine; at most `learning_rate`."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine`: anneal the learning rate over `epochs`, or restart it after `restart_epochs` (Loshchilov and Hutter
    2017)."""
    restart_epochs: int = Field(default=0, ge=0)
    """Length of the first cosine in epochs; each following one restarts the learning rate and is twice as long. 0: one
    cosine over all epochs."""
    momentum: Probability = 0.9
    """Momentum of SGD."""
    nesterov: bool = True
    """Use Nesterov momentum."""
    weight_decay: NonNegative = 5e-4
    """L2 penalty on the weights of convolutions, linear layers and embeddings; biases and batch norms have none."""
    label_smoothing: Probability = 0.0
    """Share of a label that is spread over all classes (Szegedy et al. 2016)."""
    class_weights: list[Positive] | None = None
    """Weight of each class in the loss, in the order of the classes. Unset: all weigh the same."""
    gradient_clip: NonNegative = 5.0
    """Maximum norm of the whole gradient. 0: no limit."""
    drop_path_probability: Probability = 0.0
    """Drop-path probability of the last cell at the end of the training. It grows linearly with progress, and with
    depth if the skeleton says so."""
    dropout: Probability = 0.0
    """Dropout probability before the classifier."""
    word_dropout: Probability = 0.0
    """Probability of hiding a word or character of a training text: it becomes the unknown one."""
    auxiliary_weight: NonNegative = 0.0
    """Weight of the auxiliary head's loss. 0: no auxiliary head."""
    crop_padding: int = Field(default=0, ge=0, le=64)
    """Pad by this many black pixels, then crop at random."""
    flip: bool = False
    """Mirror images with probability 0.5."""
    cutout: int = Field(default=0, ge=0, le=512)
    """Side in pixels of a square that is blanked at random (DeVries and Taylor 2017)."""

    def check_classes(self, count: int) -> None:
        """Check that there is a weight for each of the classes; ValueError if not."""
        if self.class_weights is not None and len(self.class_weights) != count:
            raise ValueError(
                f"training.class_weights has {len(self.class_weights)} numbers; the data has {count} classes"
            )

    def check_images(self, *size: int) -> None:
        """Check that images of this size (height and width in pixels) can be trained on; ValueError if not."""
        if self.cutout > min(size):
            raise ValueError(
                f"training.cutout is {self.cutout}; with images of {'x'.join(map(str, size))} pixels it can be at most "
                f"{min(size)}"
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
    def _check_schedule(self) -> Self:
        if self.learning_rate_end > self.learning_rate:
            raise ValueError(
                f"learning_rate_end is {self.learning_rate_end}; it must be at most "
                f"learning_rate = {self.learning_rate}"
            )
        if self.schedule == "constant" and (self.learning_rate_end or self.restart_epochs):
            raise ValueError(
                f"schedule is 'constant', but learning_rate_end is {self.learning_rate_end} and restart_epochs is "
                f"{self.restart_epochs}; both must be 0 unless schedule is 'cosine'"
            )
        return self


class FaultSettings(Settings):
    """`[faults]`: when an epoch counts as hanging."""

    hang_factor: Annotated[float, Field(ge=2, allow_inf_nan=False)] = 10.0
    """An epoch hangs if it takes more than this many times the longest epoch of the search so far, and more than
    `hang_seconds`. Its worker process is then ended and the trial fails."""
    hang_seconds: Positive = 600.0
    """Minimum duration in seconds of an epoch that counts as hanging."""
