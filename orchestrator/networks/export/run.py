"""Exports one network: prunes it if requested, writes the file, compares the file with PyTorch, records it."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.errors import InputError, last_line
from orchestrator.networks.export.settings import ExportSettings
from orchestrator.networks.retraining.record import RetrainFolder
from orchestrator.networks.retraining.run import images_of
from orchestrator.networks.trained_network import TrainedNetwork
from orchestrator.progress import Progress, Refresh, WorkView
from orchestrator.record import EXPORTED, ExportedFile, Exports, PruningDone, Scores, now
from orchestrator.report import refresh
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.exporting.formats import FormatModule, MissingPackageError
from trainables.exporting.measurement import Measurement, compute_logits, measure
from trainables.exporting.model_file import Inputs, ModelFacts
from trainables.image_arrays import ImageArrays
from trainables.settings import TrainingSettings
from trainables.storage import Folder
from trainables.tasks.table import find_task

if TYPE_CHECKING:
    from trainables.build_network import Network

CALIBRATION_IMAGES = 256
"""Number of training images that give the ranges of 8-bit activations."""


@dataclass(frozen=True)
class ExportResult:
    """The folder of the exported file, and the file's entry in the record."""

    folder: Folder
    file: ExportedFile

    @property
    def location(self) -> str:
        """Path or URI of the exported file."""
        return (self.folder / self.file.file).location


def export_network(
    network: Path | str, settings: ExportSettings | None = None, *, progress: Progress | None = None
) -> ExportResult:
    """Write a trained network to a file, compare the file's outputs with PyTorch's, and measure it.

    Args:
        network: a run directory, for its retrained winner, or if that is not retrained, for the winner as the search
            trained it; or `RUN_DIR/best` or `RUN_DIR/retrain/NAME`. A path or a URI.
        settings: see `ExportSettings`.
        progress: shows the progress.

    Raises:
        InputError: the network cannot be exported with these settings; nothing was written.
        SearchError: the file cannot be written.
    """
    settings, progress = ExportSettings.of(settings), Progress.of(progress)
    try:
        writer = settings.how.writer(int8=settings.int8)
    except MissingPackageError as error:
        raise InputError(str(error)) from error
    found = TrainedNetwork.find(str(network))
    folder = found.folder / EXPORTED
    Exports.read(folder)  # report a malformed record before the work
    view = WorkView(f"export of {found.name}", "epoch")
    with progress.display(view, ticking=True) as show:
        report = _ProgressReporter(progress, view, show)
        report.step(f"reading the data set {found.search.config.data.name}")
        content, file = _Work(
            found=found,
            settings=settings,
            writer=writer,
            splits=images_of(found.search.with_data_at(settings.changes)),
            report=report,
        ).run()
    Exports.read(folder).with_file(file).write(folder, file.file, content)
    refresh(found.search, progress)
    return ExportResult(folder, file)


@dataclass(frozen=True)
class _ProgressReporter:
    """Reports the progress of an export."""

    progress: Progress
    view: WorkView
    show: Refresh

    def step(self, doing: str) -> None:
        self.progress.note(doing)
        self.view.say(doing)
        self.show()

    def epoch(self, result: EpochResult, epochs: int) -> None:
        self.view.count(result.epoch, epochs, [f"accuracy {result.val_accuracy:.4f}"])
        self.show()


@dataclass(frozen=True, kw_only=True)
class _Work:
    """The work of one export."""

    found: TrainedNetwork
    settings: ExportSettings
    writer: FormatModule
    splits: DataSplits
    report: _ProgressReporter

    def run(self) -> tuple[bytes, ExportedFile]:
        """Make the contents of the file and its entry in the record."""
        from trainables.exporting.program import make_runner  # takes seconds: it imports torch

        network = self._network(self.found.weights)
        images, labels = self._images(self.splits.validation), self.splits.validation.labels
        score = find_task(self.splits.task).score
        before = score.of_arrays(compute_logits(make_runner(network), images), labels)
        pruning = None
        if self.settings.pruning is not None:
            weights, pruning = self._prune()
            network = self._network(weights)
        self.report.step(f"writing {self.settings.file}")
        content = self._content(network)
        self.report.step("comparing it with PyTorch, and measuring both")
        reference = measure(make_runner(network), images, labels, score)
        measured = measure(self.writer.read(content).run, images, labels, score)
        return content, ExportedFile(
            file=self.settings.file,
            format=self.settings.format,
            int8=self.settings.int8,
            pruning=pruning,
            size=len(content),
            pytorch_size=len(self.found.weights),
            images=len(labels),
            saw_validation=self.found.saw_validation,
            largest_difference=float(np.abs(measured.logits - reference.logits).max()),
            scores=_scores(measured),
            pytorch=_scores(reference),
            accuracy_before=before,
            exported_at=now(),
            host=platform.node(),
            versions=_versions(),
        )

    def _network(self, weights: bytes) -> Network:
        from trainables.exporting.program import load_network

        try:
            return load_network(self.found.spec, weights)
        except ValueError as error:
            raise InputError(f"{self.found.folder}: {error}") from error

    def _content(self, network: Network) -> bytes:
        facts = ModelFacts(name=self.found.name, preprocessing=self.found.preprocessing, int8=self.settings.int8)
        try:
            return self.writer.write(network, facts, self._calibration() if self.settings.int8 else None)
        except Exception as error:  # the exporters and quantisers raise many classes
            as_what = f"{self.settings.format}{' with --int8' if self.settings.int8 else ''}"
            raise InputError(f"{self.found.name} cannot be exported as {as_what}: {_first_line(error)}") from error

    def _calibration(self) -> Inputs:
        train = self.splits.train
        generator = np.random.default_rng(self.found.search.info.seed)
        chosen = generator.permutation(len(train))[:CALIBRATION_IMAGES]
        return self._images(train.take(chosen))

    def _prune(self) -> tuple[bytes, PruningDone]:
        from trainables.exporting.pruning import prune_weights

        asked, epochs = self.settings.pruning, self.settings.epochs
        assert asked is not None
        self.report.step(f"pruning {asked.fraction:.0%} of the {asked.kind}, and training what is left")
        preprocessing = self.found.preprocessing
        try:
            result = prune_weights(
                self.found.spec,
                self.found.weights,
                kind=asked.kind,
                fraction=asked.fraction,
                epochs=epochs,
                recipe=self._recipe(),
                images=replace(self.splits, mean=preprocessing.mean, deviation=preprocessing.deviation),
                seed=self.found.search.info.seed,
                on_epoch=lambda result: self.report.epoch(result, epochs),
            )
        except RuntimeError as error:  # most likely, the memory is too small
            raise InputError(f"{self.found.name} cannot be pruned and fine-tuned: {last_line(error)}") from error
        done = PruningDone(kind=asked.kind, fraction=asked.fraction, zeros=result.zeros, fine_tune=epochs)
        return result.weights, done

    def _recipe(self) -> TrainingSettings:
        """The settings by which the network was trained: those of its retraining or of the search."""
        retrained = RetrainFolder(self.found.folder).info()
        if retrained is None:
            return self.found.search.config.training
        return TrainingSettings.model_validate(retrained.asked.training)

    def _images(self, part: ImageArrays) -> Inputs:
        return self.found.preprocessing.normalised(part.images)


def _first_line(error: Exception) -> str:
    """The reason; the exporters put it first, and advice for their developers last."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _scores(measured: Measurement) -> Scores:
    return Scores(accuracy=measured.accuracy, latency_seconds=measured.latency_seconds)


def _versions() -> dict[str, str]:
    """Versions of the packages that wrote and ran the file, if they are installed."""
    found = {}
    for package in ("cellscout", "torch", "onnx", "onnxscript", "onnxruntime", "torchao", "executorch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
