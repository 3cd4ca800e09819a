"""What several test files share: a small Ray, and generators of random values."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import ray
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small networks gain nothing from threads, and lose much where other processes are busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray on two CPUs of this machine, for all tests that need it, stopped at the end."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)
