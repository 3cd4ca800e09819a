"""What several test files share: a small Ray, and generators of random values."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from orchestrator.cli import main
from tests.object_store import ENVIRONMENT, object_store

__all__ = ["object_store"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small networks gain nothing from threads, and lose much where other processes are busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_real_credentials() -> None:
    """Set before Ray is started, so that its workers have it too."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        os.environ.pop(name, None)
    os.environ.update(ENVIRONMENT)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray on two CPUs of this machine, for all tests that need it, stopped at the end."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


class Finished:
    """Exit status and output of a command that ran in this process."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def cellscout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments: str) -> Finished:
        monkeypatch.setattr(sys, "argv", ["cellscout", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Finished(ended.value.code if isinstance(ended.value.code, int) else 0, captured.out, captured.err)

    return run
