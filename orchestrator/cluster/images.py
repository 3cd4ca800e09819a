"""Reads the run's images.

The driver reads them itself, before Ray starts, so that an error in the data is known at once. Only torchvision's data
sets are read in a Ray task, so that the driver needs no torch.
"""

from __future__ import annotations

from orchestrator.cluster.stopping import SearchStopper, raising_on_interrupt
from orchestrator.cluster.worker_call import call_in_worker
from orchestrator.errors import ConfigError
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


def load_on_cluster(settings: DataSettings, seed: int, stopper: SearchStopper) -> DataSplits:
    """Read and split the data set in a Ray task.

    Raises:
        ConfigError: the data cannot be used as the settings ask.
        SearchError: reading them failed for another reason.
        KeyboardInterrupt: the user asked to stop.
    """
    doing = f"reading the data set {settings.name!r}"
    splits: DataSplits = call_in_worker(
        load_data, settings.located(), seed, doing=doing, refusal=DataError, stopper=stopper
    )
    return splits
