"""Finds a network with its weights by name: a run directory, or the network's folder in one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import RunDirectoryError
from orchestrator.networks.retraining.networks import check_has_winner, winner_name
from orchestrator.networks.retraining.record import WEIGHTS, RetrainFolder
from orchestrator.record import BEST, INFO, NETWORK, RETRAIN_RESULT, RETRAINED, RecordedRun, RunDirectory
from trainables.baseline_spec import BaselineSpec
from trainables.network_spec import NetworkSpec
from trainables.preprocessing import Preprocessing
from trainables.storage import Folder, reason, split_options


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A trained network."""

    name: str
    """For messages and files."""
    folder: Folder
    """The folder of the network."""
    search: RecordedRun
    """The search on whose images it was trained."""
    spec: NetworkSpec | BaselineSpec
    weights: bytes
    """Contents of a safetensors file."""
    preprocessing: Preprocessing
    saw_validation: bool
    """Whether it was also trained on the search's validation images."""

    @classmethod
    def find(cls, name: str) -> TrainedNetwork:
        """Find a network by name.

        Args:
            name: a run directory, for its retrained winner, or if that is not retrained, for the winner as the search
                trained it; or `RUN_DIR/best` or `RUN_DIR/retrain/NAME`. A path or a URI.

        Raises:
            RunDirectoryError: there is no such run, it has not ended, or it does not contain the network.
        """
        if Path(name).is_file():
            raise RunDirectoryError(f"{name} is a file; a run directory or RUN_DIR/retrain/NAME is needed")
        run_dir, inside = (name, []) if _is_run(name) else _split(name)
        search = RecordedRun.of_ended_search(run_dir)
        folder = search.directory.folder
        if not inside:
            retrained = folder / RETRAINED / winner_name(search.directory)
            is_there = retrained.has(RETRAIN_RESULT) and retrained.has(WEIGHTS)
            return cls._retrained(search, retrained) if is_there else cls._best(search)
        return cls._best(search) if inside == [BEST] else cls._retrained(search, folder / RETRAINED / inside[1])

    @classmethod
    def _best(cls, search: RecordedRun) -> TrainedNetwork:
        check_has_winner(search)
        return cls._read(search, search.directory.best, Preprocessing.of(search.info.data), saw_validation=False)

    @classmethod
    def _retrained(cls, search: RecordedRun, folder: Folder) -> TrainedNetwork:
        info = RetrainFolder(folder).info()
        if info is None:
            raise RunDirectoryError(f"{folder} has no retrained network; see cellscout retrain --help")
        if not folder.has(RETRAIN_RESULT):
            raise RunDirectoryError(f"the retraining in {folder} is unfinished; run its command again")
        saw_validation = info.asked.early_stopping is None
        return cls._read(search, folder, Preprocessing.of(info.data), saw_validation=saw_validation)

    @classmethod
    def _read(
        cls, search: RecordedRun, folder: Folder, preprocessing: Preprocessing, *, saw_validation: bool
    ) -> TrainedNetwork:
        try:
            value = json.loads(folder.read(NETWORK))
            weights = folder.read(WEIGHTS)
        except FileNotFoundError as error:
            raise RunDirectoryError(
                f"{folder} has no trained network (no {NETWORK} and {WEIGHTS} there); cellscout retrain "
                f"{search.directory} trains the winner"
            ) from error
        except OSError as error:
            raise RunDirectoryError(f"{folder} cannot be read: {reason(error)}") from error
        except ValueError as error:
            raise RunDirectoryError(f"{folder / NETWORK} is not JSON") from error
        try:
            is_baseline = isinstance(value, dict) and "baseline" in value
            spec = BaselineSpec.from_json(value) if is_baseline else NetworkSpec.from_json(value)
        except ValueError as error:
            raise RunDirectoryError(f"{folder / NETWORK} does not contain a network: {error}") from error
        return cls(
            name=winner_name(search.directory) if folder == search.directory.best else folder.name,
            folder=folder,
            search=search,
            spec=spec,
            weights=weights,
            preprocessing=preprocessing,
            saw_validation=saw_validation,
        )


def _is_run(name: str) -> bool:
    """Whether this is a run directory, even if it has the name of a network's folder."""
    directory = RunDirectory.at(name)
    try:
        return directory.folder.has(INFO)
    except OSError as error:
        raise RunDirectoryError(f"{directory} cannot be read: {reason(error)}") from error


def _split(name: str) -> tuple[str, list[str]]:
    """Split a name into the run directory and the path inside it: [], ["best"] or ["retrain", NAME]."""
    location, options = split_options(name) if "://" in name else (str(Path(name)), "")
    parts = location.rstrip("/").split("/")
    found = []
    for count, head in ((2, RETRAINED), (1, BEST)):
        if parts[-count:][:1] == [head]:
            run_dir = "/".join(parts[:-count]) or ("/" if location.startswith("/") else ".")
            found.append((f"{run_dir}{options}", parts[-count:]))
    # retrain/best is either the network `best` of a run, or the best network of a run called `retrain`.
    return next((place for place in found if _is_run(place[0])), found[0] if found else (name, []))
