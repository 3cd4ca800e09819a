"""A network with its weights, as a command's user names it: by a run directory, or by its own folder in one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import RunDirectoryError
from orchestrator.networks.retraining.networks import BEST as RETRAINED_BEST
from orchestrator.networks.retraining.record import WEIGHTS, RetrainFolder
from orchestrator.record import BEST, INFO, NETWORK, RETRAIN_RESULT, RETRAINED, RecordedRun, RunDirectory
from trainables.baseline_spec import BaselineSpec
from trainables.network_spec import NetworkSpec
from trainables.preprocessing import Preprocessing
from trainables.storage import Folder, reason, split_options


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """
    Args:
        name: to be shown.
        folder: that holds it.
        search: whose images it was trained on.
        spec: what it is.
        weights: a safetensors file.
        preprocessing: what its images must be like.
        saw_validation: whether it was trained on the search's validation images, too.
    """

    name: str
    folder: Folder
    search: RecordedRun
    spec: NetworkSpec | BaselineSpec
    weights: bytes
    preprocessing: Preprocessing
    saw_validation: bool

    @classmethod
    def find(cls, name: str) -> TrainedNetwork:
        """The network that `name` stands for.

        Args:
            name: of a run directory, whose retrained winner it then is, or if there is none the best that the search
                itself trained; or of `RUN_DIR/best` or `RUN_DIR/retrain/NAME`. Paths or URIs.

        Raises:
            RunDirectoryError: there is no such run, it has not ended, or it holds no such network.
        """
        run_dir, inside = (name, []) if _is_run(name) else _split(name)
        search = RecordedRun.of_ended_search(run_dir)
        folder = search.directory.folder
        if not inside:
            retrained = folder / RETRAINED / RETRAINED_BEST
            is_there = retrained.has(RETRAIN_RESULT) and retrained.has(WEIGHTS)
            return cls._retrained(search, retrained) if is_there else cls._best(search)
        return cls._best(search) if inside == [BEST] else cls._retrained(search, folder / RETRAINED / inside[1])

    @classmethod
    def _best(cls, search: RecordedRun) -> TrainedNetwork:
        return cls._read(search, search.directory.best, Preprocessing.of(search.info.data), saw_validation=False)

    @classmethod
    def _retrained(cls, search: RecordedRun, folder: Folder) -> TrainedNetwork:
        info = RetrainFolder(folder).info()
        if info is None:
            raise RunDirectoryError(f"{folder} holds no retrained network; see cellscout retrain --help")
        if not folder.has(RETRAIN_RESULT):
            raise RunDirectoryError(f"the retraining in {folder} is unfinished; start its command again")
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
            raise RunDirectoryError(f"{folder} holds no trained network (no {NETWORK} and {WEIGHTS} there)") from error
        except OSError as error:
            raise RunDirectoryError(f"{folder} cannot be read: {reason(error)}") from error
        except ValueError as error:
            raise RunDirectoryError(f"{folder / NETWORK} is not JSON") from error
        try:
            is_baseline = isinstance(value, dict) and "baseline" in value
            spec = BaselineSpec.from_json(value) if is_baseline else NetworkSpec.from_json(value)
        except ValueError as error:
            raise RunDirectoryError(f"{folder / NETWORK} holds no network: {error}") from error
        return cls(
            name=folder.name,
            folder=folder,
            search=search,
            spec=spec,
            weights=weights,
            preprocessing=preprocessing,
            saw_validation=saw_validation,
        )


def _is_run(name: str) -> bool:
    """Whether it is a run directory, though it may be called as a network's folder is."""
    directory = RunDirectory.at(name)
    try:
        return directory.folder.has(INFO)
    except OSError as error:
        raise RunDirectoryError(f"{directory} cannot be read: {reason(error)}") from error


def _split(name: str) -> tuple[str, list[str]]:
    """The run directory, and what of it is meant: nothing, `best`, or `retrain` and a name."""
    location, options = split_options(name) if "://" in name else (str(Path(name)), "")
    parts = location.rstrip("/").split("/")
    found = []
    for count, head in ((2, RETRAINED), (1, BEST)):
        if parts[-count:][:1] == [head]:
            run_dir = "/".join(parts[:-count]) or ("/" if location.startswith("/") else ".")
            found.append((f"{run_dir}{options}", parts[-count:]))
    # Of retrain/best one can be meant: the network `best` of a run, or the best of a run called `retrain`.
    return next((place for place in found if _is_run(place[0])), found[0] if found else (name, []))
