"""Classifies pictures, signals or texts, or folders of them, in batches, with an exported file or a trained network."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.errors import InputError, SearchError, last_line
from orchestrator.networks.mask_pictures import write_masks
from orchestrator.networks.trained_network import TrainedNetwork
from orchestrator.words import counted
from trainables.exporting.formats import FORMATS, ExportFormat, MissingPackageError, find_format
from trainables.exporting.model_file import ModelFacts, ModelFile, ModelFileError
from trainables.file_kind import FileKind, is_hidden
from trainables.settings import printable
from trainables.storage import Folder, check_location, reason, split_options
from trainables.tasks.task import Outputs

BATCH = 64
OUTPUTS = (".csv", ".parquet")


@dataclass(frozen=True)
class Prediction:
    """The prediction for one picture."""

    path: Path
    values: NDArray[np.float64]
    """In the order of `Preprocessing.classes`, the probability of each class, 0..1; for a mask the share of the pixels
    of each class; or each number."""
    mask: NDArray[np.uint8] | None = None
    """The class of each pixel, [height, width], in the size of the network's input; None if the network gives none."""


@dataclass(frozen=True)
class Predictions:
    """The predictions for all pictures."""

    network: str
    """Its name."""
    folder: str | None
    """Location of the trained network; None for an exported file."""
    classes: tuple[str, ...]
    pictures: list[Prediction]
    kind: str
    """What each file is, such as `picture`."""
    outputs: Outputs
    """What is predicted."""
    unreadable: list[str]
    """One line for each picture in a folder that could not be read."""

    def ranked(self, picture: Prediction, top: int) -> list[tuple[str, float]]:
        """The `top` classes by probability, highest first."""
        order = np.argsort(-picture.values, kind="stable")[:top]
        return [(self.classes[index], float(picture.values[index])) for index in order]

    def lines(self, top: int) -> list[str]:
        """One line per picture, with its `top` classes and probabilities, or its numbers."""
        if self.outputs != "numbers":
            return [line_of(one.path, self.ranked(one, top)) for one in self.pictures]
        return [
            "  ".join(
                [
                    printable(one.path),
                    *(f"{name} {value:.3f}" for name, value in zip(self.classes, one.values, strict=True)),
                ]
            )
            for one in self.pictures
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "pictures": [{"path": printable(picture.path), **self._facts(picture)} for picture in self.pictures],
            "unreadable": self.unreadable,
        }

    def _facts(self, picture: Prediction) -> dict[str, Any]:
        values = dict(zip(self.classes, picture.values.tolist(), strict=True))
        if self.outputs == "numbers":
            return {"values": values}
        if self.outputs == "masks":
            return {"shares": values}
        ((best, probability),) = self.ranked(picture, 1)
        return {"prediction": best, "probability": probability, "probabilities": values}

    def table(self) -> pa.Table:
        """Return one row per picture: path, prediction, probability, and `p_CLASS` for each class.

        For masks, `p_CLASS` is the share of the pixels; numbers have a column each.
        """
        columns: dict[str, list[Any]] = {"path": [printable(picture.path) for picture in self.pictures]}
        if self.outputs == "classes":
            best = [self.ranked(picture, 1)[0] for picture in self.pictures]
            columns |= {"prediction": [name for name, _ in best], "probability": [share for _, share in best]}
        prefix = "" if self.outputs == "numbers" else "p_"
        for index, name in enumerate(self.classes):
            columns[f"{prefix}{name}"] = [float(picture.values[index]) for picture in self.pictures]
        return pa.table(columns)


def line_of(path: Path, shares: Iterable[tuple[str, float]]) -> str:
    """Return the line of a picture with its classes and their shares, such as `digit.png  7 91.8 %  1 4.0 %`."""
    return "  ".join([printable(path), *(f"{name} {100 * share:.1f} %" for name, share in shares)])


def predict(model: Path | str, images: Path | str | Sequence[Path | str]) -> Predictions:
    """Classify pictures, or predict what else the network was trained for.

    Args:
        model: an exported file (.onnx, .pt2, .pte; a path or a URI), or a network as for `export_network`. A .pt2 is
            unpickled, which runs any code that its author put into it.
        images: one or several files or folders (read recursively, sorted by path): pictures; WAV or `.npy` files for
            signals; `.txt` files, one text each, for texts.

    Raises:
        InputError: the model cannot be read; a named picture cannot be read; a folder has no picture, or no picture can
            be read.
    """
    given = [images] if isinstance(images, Path | str) else images
    if second := next((one for one in given if find_format(Path(one).suffix) is not None), None):
        raise InputError(f"{second} is a second exported network; name one network, and then the files to predict")
    opened, folder = _open(str(model))
    preprocessing = opened.facts.preprocessing
    kind = preprocessing.reading.files
    named = [(path, from_folder) for image in given for path, from_folder in _files(Path(image), kind)]
    pictures: list[Prediction] = []
    unreadable: list[str] = []
    for start in range(0, len(named), BATCH):
        paths, pixels = [], []
        for path, from_folder in named[start : start + BATCH]:
            try:
                pixels.append(preprocessing.read(path))
                paths.append(path)
            except ValueError as error:
                if not from_folder:
                    raise InputError(str(error)) from error
                unreadable.append(str(error))
        if paths:
            found = _READERS[preprocessing.outputs](opened.run(preprocessing.normalised(np.stack(pixels))))
            pictures += [Prediction(path, *one) for path, one in zip(paths, found, strict=True)]
    if not pictures:
        raise InputError(f"none of {counted(len(named), kind.name)} can be read; the first: {unreadable[0]}")
    return Predictions(
        network=opened.facts.name,
        folder=folder,
        classes=preprocessing.classes,
        pictures=pictures,
        kind=kind.name,
        outputs=preprocessing.outputs,
        unreadable=unreadable,
    )


def check_output(output: Path) -> None:
    """Check that predictions can be written in the format of this file, or masks to this folder.

    Raises:
        InputError: the name has another ending.
    """
    if output.suffix not in ("", *OUTPUTS):
        raise InputError(
            f"--output is {str(output)!r}; it must end in {' or '.join(OUTPUTS)}, or be a folder for masks"
        )
    try:
        check_location(str(output.absolute()))
    except ValueError as error:
        raise InputError(f"--output: {error}") from error


def write_predictions(predictions: Predictions, output: Path) -> None:
    """Write `Predictions.table` as CSV or Parquet, atomically; or the masks to a folder, see `write_masks`.

    Raises:
        InputError: it is a folder, and the network gives no masks.
        SearchError: the file cannot be written.
    """
    if output.suffix not in OUTPUTS:
        masks = [(picture.path, picture.mask) for picture in predictions.pictures if picture.mask is not None]
        if not masks:
            raise InputError(f"--output is {str(output)!r}; it must end in {' or '.join(OUTPUTS)}: there are no masks")
        write_masks(masks, output)
        return
    table = predictions.table()
    if output.suffix == ".csv":
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(table.column_names)
        writer.writerows(zip(*table.to_pydict().values(), strict=True))
        content = text.getvalue().encode()
    else:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        content = sink.getvalue().to_pybytes()
    try:
        Folder.at(output.absolute().parent).write(output.name, content)
    except OSError as error:
        raise SearchError(f"{output} cannot be written: {reason(error)} (--output)") from error


def _files(image: Path, kind: FileKind) -> Iterator[tuple[Path, bool]]:
    """The files of an argument, each with whether it was found in a folder."""
    if not image.is_dir():
        yield image, False
        return
    found = sorted(
        path
        for path in image.rglob("*")
        if kind.matches(path.name) and not any(map(is_hidden, path.relative_to(image).parts)) and path.is_file()
    )
    if not found:
        raise InputError(f"{printable(image)} has no {kind.name} (no file with an ending such as {kind.some_suffixes})")
    for path in found:
        yield path, True


def _open(model: str) -> tuple[ModelFile, str | None]:
    """Open an exported file, or a trained network, whose location is the second value."""
    location, options = split_options(model)
    parent, slash, name = location.rpartition("/")
    how = find_format(Path(name).suffix)
    if how is None:
        return _trained(model)
    folder = f"{parent}{slash if not parent else ''}{options}" if slash else "."
    return _exported(model, folder=folder, name=name, how=how), None


def _exported(model: str, *, folder: str, name: str, how: ExportFormat) -> ModelFile:
    try:
        content = Folder.at(folder).read(name)
    except FileNotFoundError as error:
        raise InputError(f"{model}: there is no such file") from error
    except ValueError as error:
        raise InputError(f"{model}: {error}") from error
    except OSError as error:
        raise InputError(f"{model} cannot be read: {reason(error)}") from error
    try:
        return how.reader().read(content)
    except MissingPackageError as error:
        raise InputError(str(error)) from error
    except ModelFileError as error:
        raise InputError(f"{model} is not a valid file of cellscout export: {error}") from error


def _trained(model: str) -> tuple[ModelFile, str]:
    if Path(model).is_file():
        suffixes = ", ".join(one.suffix for one in FORMATS.values())
        raise InputError(f"{model} is neither an exported file ({suffixes}) nor the folder of a trained network")
    found = TrainedNetwork.find(model)
    from trainables.exporting.program import load_network, make_runner  # takes seconds: it imports torch

    try:
        network = load_network(found.spec, found.weights)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{found.folder}: {last_line(error)}") from error
    facts = ModelFacts(name=found.name, preprocessing=found.preprocessing, int8=False)
    return ModelFile(facts, make_runner(network)), str(found.folder)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _read_masks(logits: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.float64], NDArray[np.uint8]]]:
    """The shares of the classes and the mask of each image, for logits [n, classes, height, width]."""
    for mask in logits.argmax(axis=1).astype(np.uint8):
        yield np.bincount(mask.ravel(), minlength=logits.shape[1]) / mask.size, mask


_READERS: dict[Outputs, Callable[[NDArray[np.float32]], Iterable[Any]]] = {
    "classes": lambda logits: ((row,) for row in _softmax(logits)),
    "masks": _read_masks,
    "numbers": lambda outputs: ((row,) for row in outputs.astype(np.float64)),
}
"""How a network's outputs [n, outputs, ...] become the fields of a `Prediction` after the path, by what they are."""
