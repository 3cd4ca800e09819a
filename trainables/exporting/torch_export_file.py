"""PyTorch's `.pt2` files: the captured graph, as `torch.export.save` writes it.

PyTorch unpickles parts of such a file, so a file from an untrusted source can run any code. The facts are read without
unpickling.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import zipfile

import torch

from trainables.build_network import Network
from trainables.exporting.model_file import METADATA, Inputs, ModelFacts, ModelFile, ModelFileError
from trainables.exporting.program import capture, make_runner
from trainables.library_internals import Internal

_EXTRA = f"/extra/{METADATA}.json"
"""End of the name of the facts in the archive."""

_INT8_OPERATORS = Internal(
    "torch",
    "ao.quantization.fx._decomposed",
    read_in="2.14.1",
    without="reading a .pt2 file in 8 bits takes torchao, if that still registers the operators",
)
"""A module that registers the operators of a graph in 8 bits when it is imported."""


def write(network: Network, facts: ModelFacts, calibration: Inputs | None) -> bytes:
    """See `FormatModule`. 8 bits: quantise and dequantise nodes in the graph, which `torch.compile` fuses."""
    program = capture(network, facts.preprocessing)
    if calibration is not None:
        from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
            X86InductorQuantizer,
            get_default_x86_inductor_quantization_config,
        )

        from trainables.exporting.quantisation import quantise

        quantiser = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
        program = capture(quantise(program, quantiser, calibration), facts.preprocessing)
    for node in program.graph.nodes:  # stack traces with paths of this machine
        node.meta.pop("stack_trace", None)
        node.meta.pop("from_node", None)
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={f"{METADATA}.json": facts.dumps()})
    return file.getvalue()


def read(content: bytes) -> ModelFile:
    """See `FormatModule`. Read only files from a trusted source."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            name = next((name for name in archive.namelist() if name.endswith(_EXTRA)), None)
            text = None if name is None else archive.read(name).decode()
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise ModelFileError("it is not an archive of torch.export") from error
    if text is None:
        raise ModelFileError(f"it has no metadata {METADATA!r}")
    facts = ModelFacts.loads(text)
    if facts.int8:
        _register_int8_operators()
    try:
        network = torch.export.load(io.BytesIO(content)).module()
    except Exception as error:  # a damaged archive raises various exceptions
        raise ModelFileError("torch.export cannot read it") from error
    return ModelFile(facts, make_runner(network))


def _register_int8_operators() -> None:
    """Make the operators of a graph in 8 bits known to torch, without torchao if possible."""
    try:
        importlib.import_module(f"torch.{_INT8_OPERATORS.name}")
    except ImportError:
        _INT8_OPERATORS.report()
        with contextlib.suppress(ImportError):
            importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
