"""Reads the run's images in a Ray task, so that the driver needs no torch; workers get them from the object store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from orchestrator.cluster.stopping import SearchStopper
from orchestrator.errors import ConfigError, SearchError, last_line
from trainables.command_folder import CommandFolder
from trainables.datasets import DataError, DataSplits, load_data
from trainables.settings import DataSettings


def load_on_cluster(settings: DataSettings, seed: int, stopper: SearchStopper) -> tuple[ray.ObjectRef, dict[str, Any]]:
    """Return a reference to the run's `DataSplits`, and their description by `DataSplits.describe`.

    The images are stored on the driver's node. If they were on another node and that node was lost, Ray would have to
    read them again, and might find no free CPU for that.

    Raises:
        ConfigError: the data cannot be used as the settings ask.
        SearchError: reading them failed for another reason.
        KeyboardInterrupt: the user asked to stop.
    """
    settings = settings.model_copy(update={"root": str(Path(settings.root).expanduser().absolute())})
    splits, facts = ray.remote(_load_and_describe).options(num_returns=2).remote(settings, seed, CommandFolder.here())
    while not ray.wait([facts], timeout=0.2)[0]:
        stopper.check()
    try:
        return ray.put(ray.get(splits)), ray.get(facts)
    except ray.exceptions.RayError as error:  # for example, the worker ran out of memory
        cause = getattr(error, "cause", None)
        if isinstance(cause, DataError):
            raise ConfigError(str(cause)) from error
        raise SearchError(f"reading the data set {settings.name!r} failed: {last_line(cause or error)}") from error


def _load_and_describe(settings: DataSettings, seed: int, home: CommandFolder) -> tuple[DataSplits, dict[str, Any]]:
    with home.entered():  # the function of a data set may open files by relative paths
        splits = load_data(settings, seed)
    return splits, splits.describe()
