"""Draws what a network for masks sees on test images: the images, their masks, and the masks that it finds."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from orchestrator.networks.mask_pictures import palette
from trainables.datasets import DataSplits
from trainables.image_arrays import IGNORED

SHOWN = 6
"""Number of test images in the drawing."""
WIDTH = 9.0
"""Of the drawing, in inches."""
LEGEND_COLUMNS = 6
WHITE = 255


def drawing_of(splits: DataSplits, masks: NDArray[np.uint8]) -> bytes:
    """The drawing as a PNG file.

    Args:
        splits: the data; the first test images are drawn.
        masks: the masks that the network finds on these images, [n, height, width].
    """
    images, true = splits.test.images[: len(masks)], splits.test.labels[: len(masks)]
    height, width = images.shape[1:3]
    legend_rows = -(-len(splits.classes) // LEGEND_COLUMNS)
    tile = WIDTH / SHOWN
    drawing = Figure((WIDTH, 3 * tile * height / width + 0.5 + 0.22 * legend_rows), layout="constrained")
    rows = drawing.subplots(3, SHOWN, squeeze=False)
    for axes in rows.flat:
        axes.set_axis_off()
    for place, image in enumerate(images):
        shown = image if image.shape[2] == 3 else image.mean(axis=2)
        rows[0, place].imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        for row, mask in ((1, true[place]), (2, masks[place])):
            colours = np.where((mask == IGNORED)[..., None], WHITE, palette()[mask])
            rows[row, place].imshow(colours.astype(np.uint8), interpolation="nearest")
    for row, title in enumerate(("image", "its mask", "found")):
        rows[row, 0].set_title(title, loc="left", fontsize=8)
    handles = [Patch(color=palette()[number] / 255, label=name) for number, name in enumerate(splits.classes)]
    drawing.legend(handles=handles, loc="outside lower center", ncols=LEGEND_COLUMNS, fontsize=7, frameon=False)
    content = io.BytesIO()
    drawing.savefig(content, format="png", dpi=110)
    return content.getvalue()
