"""Finds architectures by name: a published cell, a file, the best network of a run, or a trial of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import InputError, last_line
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import BEST, NETWORK
from orchestrator.record.trial import TRIAL_DIGITS
from search_spaces import PUBLISHED, Architecture
from trainables.network_spec import NetworkSpec
from trainables.settings import did_you_mean
from trainables.skeleton import SKELETONS
from trainables.storage import Folder, reason, split_options

BEST_NETWORK = f"{BEST}/{NETWORK}"


def find_network(name: str) -> NetworkSpec:
    """Find a network by name.

    A cell without a network gets the proxy that a search trains: N = 2, F = 16, 32x32 colour images of 10 classes, and
    the skeleton of its paper. An `architecture.json` does not record its skeleton; it gets `nasnet_cifar`.

    Args:
        name: a published cell; or the path or URI of an `architecture.json`, of a `network.json`, or of a run
            directory, for its best network; or `RUN_DIR#TRIAL`, for the best network of the run with the cells of that
            trial (leading zeros may be left out). A file or folder that is called `RUN_DIR#TRIAL` takes precedence.

    Raises:
        InputError: there is no such cell, file or trial, or it does not contain an architecture.
    """
    of_a_trial = trial_of(name)
    if of_a_trial is not None:
        run_dir, trial_id = of_a_trial
        return replace(find_network(run_dir), architecture=_architecture(run_dir, trial_id))
    if name in PUBLISHED:
        published = PUBLISHED[name]
        return _proxy(published.architecture, published.skeleton)
    try:
        folder, file = _place(name)
        place = folder / file
    except ValueError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {reason(error)}") from error
    try:
        value = json.loads(folder.read(file).decode())
    except FileNotFoundError as error:
        if file == BEST_NETWORK:
            raise InputError(f"{name!r} has no best network (no {BEST_NETWORK} there)") from error
        hint = did_you_mean(name.lower(), PUBLISHED)
        raise InputError(f"{name!r} is not a published cell, a file or a run directory{hint}") from error
    except OSError as error:
        raise InputError(f"{place} cannot be read: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is not JSON: {last_line(error)}") from error
    try:
        if isinstance(value, dict) and "architecture" in value:
            return NetworkSpec.from_json(value)
        return _proxy(Architecture.from_json(value), "nasnet_cifar")
    except ValueError as error:
        raise InputError(f"{place} does not contain an architecture: {error}") from error


def title_of(name: str) -> str:
    """A short title for the architecture of this name."""
    of_a_trial = trial_of(name)
    if of_a_trial is not None:
        return f"{title_of(of_a_trial[0])}#{of_a_trial[1]}"
    path = Path(split_options(name)[0]) if "://" in name else Path(name).resolve()
    return path.name if path.suffix != ".json" and name not in PUBLISHED else path.stem


def trial_of(name: str) -> tuple[str, str] | None:
    """Split `RUN_DIR#TRIAL` ; None if the name is not of this form."""
    run_dir, mark, trial_id = name.rpartition("#")
    return (run_dir, trial_id) if mark and ("://" in name or not Path(name).exists()) else None


def _architecture(run_dir: str, trial_id: str) -> Architecture:
    trials = RecordedRun.read(run_dir).state().trials
    if trial_id not in trials:
        trial_id = trial_id.zfill(TRIAL_DIGITS)
    if trial_id not in trials:
        raise InputError(f"{run_dir} has no trial {trial_id!r}; `cellscout report {run_dir}` lists the best ones")
    return Architecture.from_json(trials[trial_id].architecture)


def _place(name: str) -> tuple[Folder, str]:
    """Folder and file of the network. A URI names a file if it ends with .json, otherwise a run directory."""
    if "://" in name:
        location, options = split_options(name)
        parent, _, file = location.rpartition("/")
        is_run = not file.endswith(".json")
        return (Folder.at(name), BEST_NETWORK) if is_run else (Folder.at(f"{parent}{options}"), file)
    path = Path(name)
    return (Folder.at(path), BEST_NETWORK) if path.is_dir() else (Folder.at(path.parent), path.name)


def _proxy(architecture: Architecture, skeleton: str) -> NetworkSpec:
    return NetworkSpec(architecture=architecture, skeleton=SKELETONS[skeleton], repeats=2, filters=16, classes=10)
