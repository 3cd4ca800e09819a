"""Work in several processes: results, errors, and processes that die."""

from __future__ import annotations

import multiprocessing
import os
from functools import partial

import pytest

from orchestrator.errors import SearchError
from orchestrator.simulation import processes
from orchestrator.simulation.processes import run_all


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "usable_cpus", lambda: 2)


def test_each_job_comes_with_its_result() -> None:
    assert dict(run_all(partial(pow, 2), [1, 2, 3])) == {1: 2, 2: 4, 3: 8}
    assert multiprocessing.active_children() == []


def test_the_first_error_ends_all_processes_and_so_does_a_caller_that_leaves() -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_all(partial(divmod, 1), [0, 1]))
    running = run_all(partial(pow, 2), [1, 2])
    next(running)
    running.close()
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_is_reported() -> None:
    with pytest.raises(SearchError, match="a process that simulates searches died"):
        list(run_all(os._exit, [1, 2]))
