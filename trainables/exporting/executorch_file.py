"""ExecuTorch (PyTorch for phones and microcontrollers): XNNPACK runs what it can, portable kernels run the rest.

A file takes at most `MAX_IMAGES` images at once, because it plans its memory in advance; `read` splits larger batches.
The facts are stored as a method of the program that returns their bytes.
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

from trainables.build_network import Network
from trainables.exporting.model_file import METADATA, Inputs, ModelFacts, ModelFile, ModelFileError
from trainables.exporting.program import capture
from trainables.exporting.quantisation import quantise

MAX_IMAGES = 64


def write(network: Network, facts: ModelFacts, calibration: Inputs | None) -> bytes:
    """See `FormatModule`. 8 bits: symmetric, weights per channel."""
    # Captured with the largest batch: with a smaller one, the choice of a convolution's algorithm lowers the bound.
    program = capture(network, facts.preprocessing, examples=MAX_IMAGES, max_images=MAX_IMAGES)
    if calibration is not None:
        quantiser = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        quantised = quantise(program, quantiser, calibration)
        program = capture(quantised, facts.preprocessing, examples=MAX_IMAGES, max_images=MAX_IMAGES)
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
    except Exception as error:  # a malformed file raises a RuntimeError or various others
        raise ModelFileError("ExecuTorch cannot read it") from error
    if METADATA not in names:
        raise ModelFileError(f"it has no metadata {METADATA!r}")
    facts = ModelFacts.loads(bytes(program.load_method(METADATA).execute([])[0].tolist()).decode())
    return ModelFile(facts, _Runner(program, program.load_method("forward")))


@dataclass(frozen=True)
class _Runner:
    """A `Runner`. It keeps the program, because the method uses the program's memory."""

    program: Program
    forward: Method

    def __call__(self, images: Inputs) -> NDArray[np.float32]:
        parts = torch.tensor(images).split(MAX_IMAGES)
        # A copy, because the next result reuses the memory.
        return np.asarray(torch.cat([self.forward.execute([part])[0].clone() for part in parts]).numpy())


def _pad(values: Tensor, pads: list[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """`F.pad` with a constant; negative padding is sliced, which ExecuTorch's padding cannot do."""
    if mode != "constant":
        raise ValueError(f"padding mode is {mode!r}; only 'constant' is supported")
    for place in range(0, len(pads), 2):
        dimension = values.ndim - 1 - place // 2
        before, after = (max(-pad, 0) for pad in pads[place : place + 2])
        if before or after:
            values = torch.ops.aten.slice.Tensor(values, dimension, before, values.shape[dimension] - after)
    added = [max(pad, 0) for pad in pads]
    return torch.ops.aten.constant_pad_nd.default(values, added, value or 0.0) if any(added) else values.clone()
