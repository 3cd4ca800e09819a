"""The formats, by name: a literal table. No torch; a format's own module is imported when it is used."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from trainables.exporting.model_file import ModelFacts, ModelFile

if TYPE_CHECKING:
    from trainables.baselines import Network


class FormatModule(Protocol):
    """What a format's module has."""

    def write(self, network: Network, facts: ModelFacts, calibration: NDArray[np.float32] | None) -> bytes:
        """The file's content. With `calibration`, normalised images, quantised to 8 bits after them."""

    def read(self, content: bytes) -> ModelFile:
        """Open a file; ModelFileError if it is none of `write`."""


class MissingPackageError(ImportError):
    """A package of an extra is not installed; the message says how to install it."""


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """
    Args:
        name: as a user writes it.
        suffix: of its files.
        module: that writes and reads it.
        extra: of cellscout, with the packages that it needs.
        to_write, to_read: packages that are needed.
        to_quantise: packages that writing needs besides for int8.
    """

    name: str
    suffix: str
    module: str
    extra: str
    to_write: tuple[str, ...] = ()
    to_read: tuple[str, ...] = ()
    to_quantise: tuple[str, ...] = ()

    def writer(self, *, int8: bool) -> FormatModule:
        """
        Raises:
            MissingPackageError: a package that writing needs is not installed.
        """
        return self._module((*self.to_write, *self.to_read, *(self.to_quantise if int8 else ())))

    def reader(self) -> FormatModule:
        """
        Raises:
            MissingPackageError: a package that reading needs is not installed.
        """
        return self._module(self.to_read)

    def _module(self, packages: tuple[str, ...]) -> FormatModule:
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        if missing:
            raise MissingPackageError(
                f'{self.name} needs {" and ".join(missing)}; install with: pip install "cellscout[{self.extra}]"'
            )
        return cast("FormatModule", importlib.import_module(self.module))


FORMATS: dict[str, ExportFormat] = {
    format.name: format
    for format in (
        ExportFormat(
            name="onnx",
            suffix=".onnx",
            module="trainables.exporting.onnx_file",
            extra="export",
            to_write=("onnx", "onnxscript"),
            to_read=("onnxruntime",),
        ),
        ExportFormat(
            name="torch-export",
            suffix=".pt2",
            module="trainables.exporting.torch_export_file",
            extra="export",
            to_quantise=("torchao",),
        ),
        ExportFormat(
            name="executorch",
            suffix=".pte",
            module="trainables.exporting.executorch_file",
            extra="mobile",
            to_read=("executorch",),
        ),
    )
}


def format_of(suffix: str) -> ExportFormat | None:
    """The format whose files end so."""
    return next((one for one in FORMATS.values() if one.suffix == suffix), None)
