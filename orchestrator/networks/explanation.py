"""Draws which parts of pictures speak for a class of a network.

Each row shows a picture as the network sees it with its most probable classes, its Grad-CAM, and its integrated
gradients. The maps are red where a place speaks for the class and blue where it speaks against it; each map is divided
by its largest absolute value.

Does not know how the maps are computed (`trainables/explanation.py`).
"""

from __future__ import annotations

import bisect
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from orchestrator.config import make_task
from orchestrator.errors import ConfigError, InputError, RunDirectoryError, last_line
from orchestrator.networks.trained_network import TrainedNetwork
from orchestrator.report import check_picture, write_picture
from trainables.pictures import PictureError
from trainables.settings import did_you_mean, printable

if TYPE_CHECKING:
    from trainables.explanation import Explanation

MAX_PICTURES = 50
"""Maximum number of pictures in a figure, because matplotlib draws at most 65,535 pixels per side."""
SHOWN_CLASSES = 3
MAX_LETTERS = 100
"""More letters of a name never fit above a picture."""
COLOURS = "bwr"
MIN_BRIGHTNESS = 0.8
"""A map is shaded by the picture below it; black pixels keep this fraction of the map's colour."""

# Lengths in inches.
TILE = 2.3
"""Width of a picture."""
ABOVE = 0.32
BELOW = 0.58
GAP = 0.12
LEGEND = 0.92

TITLE_POINTS = 8.5
TEXT_POINTS = 8.0


@dataclass(frozen=True)
class Picture:
    """One picture and its explanation."""

    path: Path
    pixels: NDArray[np.uint8]
    """The picture as the network sees it, [height, width, channels]."""
    explanation: Explanation


@dataclass(frozen=True)
class Explained:
    """The pictures that were drawn."""

    network: str
    """Location of the network."""
    classes: tuple[str, ...]
    """In the order of the logits."""
    pictures: tuple[Picture, ...]

    def most_probable(self, picture: Picture) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities."""
        probabilities = picture.explanation.probabilities
        order = np.argsort(-probabilities, kind="stable")[:SHOWN_CLASSES]
        return [(self.classes[index], float(probabilities[index])) for index in order]

    def to_json(self) -> dict[str, Any]:
        return {"network": self.network, "pictures": [self._picture_json(picture) for picture in self.pictures]}

    def _picture_json(self, picture: Picture) -> dict[str, Any]:
        explanation = picture.explanation
        return {
            "path": printable(picture.path),
            "classes": [{"class": name, "probability": value} for name, value in self.most_probable(picture)],
            "explained": {
                "class": self.classes[explanation.target],
                "probability": float(explanation.probabilities[explanation.target]),
            },
            "grad_cam": {
                "layer": explanation.layer,
                "height": explanation.layer_size[0],
                "width": explanation.layer_size[1],
            },
            "integrated_gradients": {
                "baseline": "mean training pixel",
                "gain": explanation.gain,
                "sum": explanation.gain + explanation.delta,
                "delta": explanation.delta,
                "steps": explanation.steps,
            },
        }


def explain(network: str, *, images: Sequence[Path], output: Path, class_name: str | None = None) -> Explained:
    """Explain a network's classification of pictures in a drawing.

    Args:
        network: a name as for `TrainedNetwork.find`.
        images: 1 to 50 picture files.
        output: the file to write: .svg, .png or .pdf.
        class_name: the class to explain; None: the most probable class of each picture.

    Raises:
        InputError: an argument cannot be used; nothing was written.
    """
    if importlib.util.find_spec("captum") is None:
        raise InputError('cellscout explain needs captum: pip install "cellscout[explain]"')
    check_picture(output)
    if not 1 <= len(images) <= MAX_PICTURES:
        raise InputError(f"{len(images)} pictures are given; a figure can show 1 to {MAX_PICTURES}")
    if folder := next((image for image in images if image.is_dir()), None):
        raise InputError(f"{folder} is a folder; name the pictures to explain, at most {MAX_PICTURES}")
    found = TrainedNetwork.find(network)
    classes = found.preprocessing.classes
    if not make_task(found.search.config.data).is_drawn:
        raise InputError(
            f"{found.folder} is a network for {found.search.config.data.name} data; explain draws pictures of one "
            "class each"
        )
    if class_name is not None and class_name not in classes:
        near = did_you_mean(class_name, classes) or f"; known: {', '.join(classes[:20])}"
        raise ConfigError(f"--class {class_name!r} is not a class of {found.folder}{near}")
    try:
        pixels = [found.preprocessing.read(path) for path in images]
    except PictureError as error:
        raise InputError(str(error)) from error
    target = None if class_name is None else classes.index(class_name)
    explanations = _explanations(found, found.preprocessing.normalised(np.stack(pixels)), target)
    pictures = tuple(Picture(*values) for values in zip(images, pixels, explanations, strict=True))
    explained = Explained(str(found.folder), classes, pictures)
    write_picture(output, lambda: figure(explained))
    return explained


def figure(explained: Explained) -> Figure:
    """The drawing as a matplotlib figure."""
    height, width = explained.pictures[0].pixels.shape[:2]
    tile = TILE * min(max(height / width, 0.5), 2)
    row = ABOVE + tile + BELOW
    size = (3 * TILE + 4 * GAP, len(explained.pictures) * row + LEGEND)
    drawing = Figure(figsize=size, facecolor="white")

    def axes_at(left: float, *, top: float, wide: float, high: float) -> Axes:
        return drawing.add_axes((left / size[0], 1 - (top + high) / size[1], wide / size[0], high / size[1]))

    for number, picture in enumerate(explained.pictures):
        tops = number * row + ABOVE
        left, middle, right = (
            axes_at(GAP + column * (TILE + GAP), top=tops, wide=TILE, high=tile) for column in range(3)
        )
        _draw_row(explained, picture=picture, left=left, middle=middle, right=right)
    bar = axes_at(GAP + TILE / 2, top=size[1] - LEGEND + GAP, wide=size[0] - 2 * GAP - TILE, high=GAP)
    scale = drawing.colorbar(ScalarMappable(Normalize(-1, 1), COLOURS), cax=bar, orientation="horizontal")
    scale.set_ticks([-1, 0, 1], labels=["speaks against the class", "0", "speaks for the class"])
    bar.tick_params(labelsize=8)
    bar.set_xlabel(
        "Each map is divided by its largest absolute value, so colours do not compare between maps.\n"
        "Grad-CAM leaves out what speaks against. Integrated gradients begin at the mean training pixel.",
        fontsize=7.5,
    )
    return drawing


def _draw_row(explained: Explained, *, picture: Picture, left: Axes, middle: Axes, right: Axes) -> None:
    why = picture.explanation
    shown = picture.pixels[..., 0] if picture.pixels.shape[2] == 1 else picture.pixels
    if picture.pixels.shape[2] not in (1, 3):
        shown = picture.pixels.mean(axis=2)
    left.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    guesses = [
        fit("", name, f": {probability:.1%}", points=TEXT_POINTS)
        for name, probability in explained.most_probable(picture)
    ]
    _caption(left, fit("", printable(picture.path.name), "", points=TITLE_POINTS), "\n".join(guesses))
    target = explained.classes[why.target]
    height, width = why.layer_size
    found = f"{height}x{width} feature map" if why.grad_cam.max() > 0 else "nothing in it speaks for the class"
    middle.imshow(_overlay(why.grad_cam, picture.pixels), interpolation="nearest")
    _caption(middle, fit("Grad-CAM: ", target, "", points=TITLE_POINTS), found)
    right.imshow(_overlay(why.gradients, picture.pixels), interpolation="nearest")
    gained = f"sum {why.gain + why.delta:+.2f}; the logit gains {why.gain:+.2f}"
    missed = f"(delta {why.delta:+.1g}, {why.steps} steps)"
    _caption(right, fit("Integrated gradients: ", target, "", points=TITLE_POINTS), f"{gained}\n{missed}")
    for axes in (left, middle, right):
        axes.set_xticks([])
        axes.set_yticks([])


def _caption(axes: Axes, above: str, below: str) -> None:
    axes.set_title(above, fontsize=TITLE_POINTS, parse_math=False)
    axes.set_xlabel(below, fontsize=TEXT_POINTS, parse_math=False)


def _overlay(values: NDArray[Any], pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colour a map [height, width] and shade it by the picture's brightness: [height, width, 3], 0..1."""
    largest = float(np.abs(values).max())
    scaled = values / largest if largest > 0 else np.zeros_like(values)
    colours = mpl.colormaps[COLOURS]((scaled + 1) / 2)[..., :3]
    brightness = pixels.mean(axis=2, keepdims=True) / 255
    return np.asarray(colours * (MIN_BRIGHTNESS + (1 - MIN_BRIGHTNESS) * brightness))


def _explanations(found: TrainedNetwork, images: NDArray[np.float32], target: int | None) -> list[Explanation]:
    from trainables.explanation import explain as explain_images

    try:
        return explain_images(found.spec, found.weights, images, target=target)
    except ValueError as error:
        raise RunDirectoryError(f"{found.folder}: {error}") from error
    except RuntimeError as error:  # for example too little memory
        raise InputError(f"{found.folder} cannot be explained: {last_line(error)}") from error


@cache
def fit(before: str, name: str, after: str, *, points: float) -> str:
    """Return the three as one text no wider than a picture; the middle of a long name becomes an ellipsis."""

    def with_letters(count: int) -> str:
        ends = name[: (count + 1) // 2], name[len(name) - count // 2 :]
        return f"{before}{name if count >= len(name) else '…'.join(ends)}{after}"

    counts = range(min(len(name), MAX_LETTERS) + 1)
    too_many = bisect.bisect_right(counts, TILE, key=lambda count: _inches(with_letters(count), points))
    return with_letters(len(name) if too_many > len(name) else max(too_many - 1, 1))


def _inches(text: str, points: float) -> float:
    """The width of a line of text in inches."""
    if not text.strip():  # a path needs something to draw
        return 0.0
    return float(TextPath((0, 0), text.replace("$", r"\$"), size=points).get_extents().width / 72)
