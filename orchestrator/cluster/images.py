"""Reads the run's images and stores them where the workers get them.

The driver reads them itself, before Ray starts, so that an error in the data is known at once. Only torchvision's data
sets are read in a Ray task, so that the driver needs no torch.
"""

from __future__ import annotations

from typing import Any

import ray

from orchestrator.cluster.stopping import SearchStopper, raising_on_interrupt
from orchestrator.errors import ConfigError, SearchError, last_line
from trainables.datasets import DataSplits, load_data, needs_torch
from trainables.image_arrays import DataError
from trainables.settings import DataSettings


def read_images(settings: DataSettings, seed: int) -> DataSplits:
    """Read and split the data set in this process. Ctrl-C and SIGTERM end the reading.

    Raises:
        ConfigError: the data cannot be used as the settings ask.
        KeyboardInterrupt: the user asked to stop.
    """
    try:
        with raising_on_interrupt():
            return load_data(settings, seed)
    except DataError as error:
        raise ConfigError(str(error)) from error


def read_before_start(settings: DataSettings, seed: int) -> DataSplits | None:
    """Read the data set in this process; None if that would import torch, for `load_on_cluster`.

    Raises:
        ConfigError, KeyboardInterrupt: as for `read_images`; also if the data set's folder does not exist.
    """
    try:
        later = needs_torch(settings)
    except DataError as error:
        raise ConfigError(str(error)) from error
    return None if later else read_images(settings, seed)


def load_on_cluster(
    settings: DataSettings, seed: int, stopper: SearchStopper
) -> tuple[ray.ObjectRef, dict[str, Any], str]:
    """Read the data set in a Ray task; return what `store_images` returns.

    Raises:
        ConfigError: the data cannot be used as the settings ask.
        SearchError: reading them failed for another reason.
        KeyboardInterrupt: the user asked to stop.
    """
    splits = ray.remote(load_data).remote(settings.located(), seed)
    while not ray.wait([splits], timeout=0.2)[0]:
        stopper.check()
    try:
        # If the images were on another node and that node was lost, Ray would have to read them again, and might find
        # no free CPU for that.
        return store_images(ray.get(splits))
    except ray.exceptions.RayError as error:  # for example, the worker ran out of memory
        cause = getattr(error, "cause", None)
        if isinstance(cause, DataError):
            raise ConfigError(str(cause)) from error
        raise SearchError(f"reading the data set {settings.name!r} failed: {last_line(cause or error)}") from error


def store_images(splits: DataSplits) -> tuple[ray.ObjectRef, dict[str, Any], str]:
    """Store the images on the driver's node; return the reference, `DataSplits.describe` and `DataSplits.summary`."""
    return ray.put(splits), splits.describe(), splits.summary()
