"""Table of the export formats by name. Does not know torch: a format's module is imported when it is used."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from trainables.exporting.model_file import Inputs, ModelFacts, ModelFile

if TYPE_CHECKING:
    from trainables.build_network import Network


class FormatModule(Protocol):
    """Interface of a format's module."""

    def write(self, network: Network, facts: ModelFacts, calibration: Inputs | None) -> bytes:
        """Return the content of a file; with `calibration` (normalised examples), quantised to 8 bits."""

    def read(self, content: bytes) -> ModelFile:
        """Open a file; raises ModelFileError if `write` did not make it."""


class MissingPackageError(ImportError):
    """A package of an extra is not installed; the message says how to install it."""


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """An export format and the packages that it needs."""

    name: str
    """Name on the command line."""
    suffix: str
    """Suffix of its files."""
    module: str
    """Name of the module that writes and reads it."""
    extra: str
    """Extra of cellscout that installs its packages."""
    to_write: tuple[str, ...] = ()
    """Packages that writing needs in addition to those for reading."""
    to_read: tuple[str, ...] = ()
    """Packages that reading needs."""
    to_quantise: tuple[str, ...] = ()
    """Packages that writing int8 needs in addition."""

    def writer(self, *, int8: bool) -> FormatModule:
        """Import the module, for writing.

        Raises:
            MissingPackageError: a package that writing needs is not installed.
        """
        return self._module((*self.to_write, *self.to_read, *(self.to_quantise if int8 else ())))

    def reader(self) -> FormatModule:
        """Import the module, for reading.

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


def find_format(suffix: str) -> ExportFormat | None:
    """The format whose files have this suffix, or None if there is none."""
    return next((known for known in FORMATS.values() if known.suffix == suffix), None)
