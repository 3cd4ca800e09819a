"""Fixtures of several test files: a Ray on this machine, a search of digits that has ended, a command, generators.

`make test` runs the tests in three processes. Each has its own session fixtures, made when a test first needs them.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from orchestrator.cli.app import main
from orchestrator.config.search_config import SearchConfig
from orchestrator.search.run import run_search
from tests.object_store import ENVIRONMENT, object_store
from tests.own_ray import Head, ray_head
from trainables.exporting import measurement

__all__ = ["object_store"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests may take longest, so that no process is left with one of them at the end."""
    longest: dict[Path, float] = {}
    for item in items:
        timeout = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0.0), timeout.args[0] if timeout else 0.0)
    items.sort(key=lambda item: -longest[item.path])


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small networks gain nothing from threads, and lose much where other processes are busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell starts commands in the background with SIGINT ignored; a test of Ctrl-C would wait until its timeout."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_real_credentials() -> None:
    """Set before Ray is started, so that its workers have it too."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        os.environ.pop(name, None)
    os.environ.update(ENVIRONMENT)


@pytest.fixture(scope="session", autouse=True)
def _few_measurements() -> None:
    """Of latency: what is tested is that it is measured and told, not its median."""
    measurement.MAX_SECONDS = 0.2


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray on one CPU of this machine, for all tests that need it, stopped at the end.

    So a search has one worker. Each worker spends seconds on importing PyTorch.
    """
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def lasting_ray() -> Iterator[Head]:
    """Ray on two CPUs in processes of its own, which outlives drivers that are killed."""
    with ray_head("--num-cpus=2", "--include-dashboard=false") as head:
        yield head


@pytest.fixture(scope="session")
def searched_digits(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a small search that has ended, with a trained network in it; to be copied, not changed."""
    config = {
        "data": {"limit": 200},
        "budget": {"trials": 2},
        "training": {"epochs": 2},
        "network": {"filters": 4},
        "space": {"blocks": 2},
    }
    folder = tmp_path_factory.mktemp("searched") / "run"
    run_search(SearchConfig.model_validate(config), run_dir=folder)
    return folder


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
