"""ONNX files: PyTorch's exporter writes them from the captured graph; ONNX Runtime quantises and runs them.

Imports torch only for writing, so that a file can be opened without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainables.exporting.model_file import METADATA, Inputs, ModelFacts, ModelFile, ModelFileError

if TYPE_CHECKING:
    from trainables.build_network import Network

CALIBRATION_BATCH_SIZE = 64
IMAGES, LOGITS, COUNT = "images", "logits", "n"
"""Names of the input, the output and the batch dimension in the file."""


def write(network: Network, facts: ModelFacts, calibration: Inputs | None) -> bytes:
    """See `FormatModule`. `onnx.checker` checks the file. 8 bits: static, in QDQ form, weights per channel."""
    import onnx
    import torch

    from trainables.exporting.program import capture

    program = capture(network, facts.preprocessing)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        exported = torch.onnx.export(
            program, dynamo=True, input_names=[IMAGES], output_names=[LOGITS], external_data=False, verbose=False
        )
        assert exported is not None  # None only if a file is given
        exported.save(path)
        if calibration is not None:
            path = _quantise(path, calibration)
        model = onnx.load(path)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = COUNT
        for node in model.graph.node:  # stack traces with paths of this machine
            del node.metadata_props[:]
        onnx.helper.set_model_props(model, {METADATA: facts.dumps()})
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def read(content: bytes) -> ModelFile:
    """See `FormatModule`. Runs on the CPU with `OMP_NUM_THREADS` threads, as PyTorch does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0  # 0: one per core
    options.log_severity_level = 3  # errors only
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise ModelFileError("ONNX Runtime cannot read it") from error
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA not in metadata:
        raise ModelFileError(f"it has no metadata {METADATA!r}")
    facts = ModelFacts.loads(metadata[METADATA])

    def run(images: Inputs) -> NDArray[np.float32]:
        return np.asarray(session.run([LOGITS], {IMAGES: images})[0])

    return ModelFile(facts, run)


def _quantise(path: Path, calibration: Inputs) -> Path:
    """Write a file in 8 bits beside `path`, calibrated on these images; return its path."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Batches(CalibrationDataReader):
        """Batches of calibration images."""

        def __init__(self) -> None:
            starts = range(0, len(calibration), CALIBRATION_BATCH_SIZE)
            self._parts: Iterator[dict[str, Any]] = (
                {IMAGES: calibration[start : start + CALIBRATION_BATCH_SIZE]} for start in starts
            )

        def get_next(self) -> dict[str, Any] | None:
            return next(self._parts, None)

    prepared, quantised = path.with_name("prepared.onnx"), path.with_name("quantised.onnx")
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    # Batch norms that are not folded into a convolution; they have no kernel in 8 bits.
    norms = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "BatchNormalization"]
    quantize_static(
        prepared,
        quantised,
        Batches(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,  # on x86, signed activations are several times slower
        weight_type=QuantType.QInt8,
        reduce_range=True,  # 7 bits of weight: with 8, x86 CPUs without VNNI saturate the sums of products
        nodes_to_exclude=norms,
    )
    return quantised
