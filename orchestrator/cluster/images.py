"""The run's images, read in a Ray task: the driver needs no torch, workers take the arrays from the object store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from orchestrator.cluster.stopping import SearchStopper
from orchestrator.errors import ConfigError, SearchError, last_line
from trainables.datasets import DataError, DataSplits, load_data
from trainables.settings import DataSettings


def load_on_cluster(settings: DataSettings, seed: int, stopper: SearchStopper) -> tuple[ray.ObjectRef, dict[str, Any]]:
    """A reference to the run's `DataSplits`, and what `DataSplits.describe` says of them.

    They lie on the driver's own node. With any other that is lost, Ray would have to read them again, and might find no
    free CPU for it.

    Raises:
        ConfigError: the data cannot be used as the settings ask.
        SearchError: reading them failed for another reason.
        KeyboardInterrupt: the user asked to stop meanwhile.
    """
    settings = settings.model_copy(update={"root": str(Path(settings.root).expanduser().absolute())})
    splits, facts = ray.remote(_load_and_describe).options(num_returns=2).remote(settings, seed)
    while not ray.wait([facts], timeout=0.2)[0]:
        stopper.check()
    try:
        return ray.put(ray.get(splits)), ray.get(facts)
    except ray.exceptions.RayError as error:  # for example, the worker ran out of memory
        cause = getattr(error, "cause", None)
        if isinstance(cause, DataError):
            raise ConfigError(str(cause)) from error
        raise SearchError(f"reading the data set {settings.name!r} failed: {last_line(cause or error)}") from error


def _load_and_describe(settings: DataSettings, seed: int) -> tuple[DataSplits, dict[str, Any]]:
    splits = load_data(settings, seed)
    return splits, splits.describe()
