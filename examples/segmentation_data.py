"""Makes the data of `segmentation.toml`: pictures of circles, squares and triangles, with masks.

    python segmentation_data.py [FOLDER]

A folder for `[data] name = "segmentation"` has pictures in `images` and, with the same names, masks in `masks`, whose
pixels are the numbers of classes. `classes.txt` names the classes, one a line.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from shapes import KINDS, pictures

COUNT = 600

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "shapes")
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures(COUNT, seed=0)):
        pixels = np.asarray(255 * picture.image.permute(1, 2, 0)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number:04}.png")
        Image.fromarray(np.asarray(picture.mask, np.uint8)).save(folder / "masks" / f"{number:04}.png")
    (folder / "classes.txt").write_text("\n".join(KINDS) + "\n")
