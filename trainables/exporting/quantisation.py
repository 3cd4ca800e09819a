"""A captured graph in 8 bits, by torchao's PT2E: observed on calibration images, then static. Knows no file format."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import Quantizer

CALIBRATION_BATCH = 64


def quantised(program: ExportedProgram, quantiser: Quantizer, calibration: NDArray[np.float32]) -> torch.nn.Module:
    """
    Args:
        program: of a network, for batches of at least 64 images.
        quantiser: what is quantised, and how.
        calibration: normalised images [n, channels, height, width].
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one for each layer that stays in float32
        prepared = prepare_pt2e(program.module(), quantiser)
    with torch.no_grad():
        for batch in torch.tensor(calibration).split(CALIBRATION_BATCH):
            prepared(batch)
    return convert_pt2e(prepared)
