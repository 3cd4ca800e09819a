"""Quantises a captured graph to 8 bits by torchao's static PT2E. Does not know file formats."""

from __future__ import annotations

import warnings

import torch
from torch.export import ExportedProgram
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import Quantizer

from trainables.exporting.model_file import Inputs

CALIBRATION_BATCH_SIZE = 64


def quantise(program: ExportedProgram, quantiser: Quantizer, calibration: Inputs) -> torch.nn.Module:
    """Quantise a graph with the ranges that it has on calibration images.

    Args:
        program: the graph of a network, which must take batches of 64 images.
        quantiser: which parts are quantised, and how.
        calibration: normalised examples.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one per layer that stays in float32
        prepared = prepare_pt2e(program.module(), quantiser)
    with torch.no_grad():
        for batch in torch.tensor(calibration).split(CALIBRATION_BATCH_SIZE):
            prepared(batch)
    return convert_pt2e(prepared)
