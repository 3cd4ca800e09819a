"""ExecuTorch, PyTorch for phones and microcontrollers: what XNNPACK can compute is handed to it, the rest is portable.

A file takes at most `MOST_IMAGES` images at once, for whom it plans its memory; `read` runs more in parts. The facts
are a method of the program that returns their bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Method, Program, Runtime
from numpy.typing import NDArray
from torch import Tensor

from trainables.baselines import Network
from trainables.exporting.model_file import METADATA, ModelFacts, ModelFile, ModelFileError
from trainables.exporting.program import captured
from trainables.exporting.quantisation import quantised

MOST_IMAGES = 64


def write(network: Network, facts: ModelFacts, calibration: NDArray[np.float32] | None) -> bytes:
    """See `FormatModule`. 8 bits: symmetric, weights a channel."""
    # Captured with as many images as it may take: with fewer, choosing a convolution's algorithm lowers the bound.
    program = captured(network, facts.preprocessing, examples=MOST_IMAGES, most=MOST_IMAGES)
    if calibration is not None:
        quantiser = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        in_8_bits = quantised(program, quantiser, calibration)
        program = captured(in_8_bits, facts.preprocessing, examples=MOST_IMAGES, most=MOST_IMAGES)
    text = torch.tensor(list(facts.dumps().encode()), dtype=torch.uint8)
    edge = to_edge_transform_and_lower(
        program.run_decompositions({torch.ops.aten.pad.default: _pad}),
        partitioner=[XnnpackPartitioner()],
        constant_methods={METADATA: text},
    )
    return bytes(edge.to_executorch().buffer)


def read(content: bytes) -> ModelFile:
    """See `FormatModule`. On the CPU."""
    try:
        program = Runtime.get().load_program(content)
        names = program.method_names
    except Exception as error:  # a RuntimeError, or whatever else a spoilt file makes it raise
        raise ModelFileError("ExecuTorch cannot read it") from error
    if METADATA not in names:
        raise ModelFileError(f"it has no metadata {METADATA!r}")
    facts = ModelFacts.loads(bytes(program.load_method(METADATA).execute([])[0].tolist()).decode())
    return ModelFile(facts, _Runner(program, program.load_method("forward")))


@dataclass(frozen=True)
class _Runner:
    """A `Runner`. The method uses the memory of its program, which therefore must be kept."""

    program: Program
    forward: Method

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = torch.tensor(images).split(MOST_IMAGES)
        # A copy, for the memory of a result is that of the next one too.
        return np.asarray(torch.cat([self.forward.execute([part])[0].clone() for part in parts]).numpy())


def _pad(values: Tensor, pads: list[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """`F.pad` by a constant; what is cut off is sliced, which ExecuTorch's padding cannot do."""
    if mode != "constant":
        raise ValueError(f"padding of the kind {mode!r}")
    for place in range(0, len(pads), 2):
        dimension = values.ndim - 1 - place // 2
        before, after = (max(-pad, 0) for pad in pads[place : place + 2])
        if before or after:
            values = torch.ops.aten.slice.Tensor(values, dimension, before, values.shape[dimension] - after)
    added = [max(pad, 0) for pad in pads]
    return torch.ops.aten.constant_pad_nd.default(values, added, value or 0.0) if any(added) else values.clone()
