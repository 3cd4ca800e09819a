"""Tests of the waiting line of trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.execution.tune_controller import TrialRunnerWrapper

from orchestrator.schedulers import waiting_line
from orchestrator.schedulers.waiting_line import WaitingLine

NO_CONTROLLER = SimpleNamespace()


@dataclass(eq=False)
class Waiting:
    """As much of Ray Tune's trial as the line looks at."""

    status: str = "PENDING"
    temporary_state: Any = field(default_factory=lambda: SimpleNamespace(ray_actor=None))


def line_of(*trials: Any) -> WaitingLine:
    line = WaitingLine()
    for trial in trials:
        line.join(trial)
    return line


def controller(started: dict[Any, bool]) -> Any:
    """As Ray Tune passes it to schedulers, with the trials for which a worker was requested, and whether it starts."""
    trials = SimpleNamespace(is_worker_starting=started.__getitem__)
    whitelist = {"search_alg"}
    return TrialRunnerWrapper(SimpleNamespace(search_alg=trials), trial_executor=None, runner_whitelist_attr=whitelist)


def test_who_came_first_is_next_until_it_has_a_worker() -> None:
    first, second = Waiting(), Waiting()
    line = line_of(first, second)
    assert [line.head(NO_CONTROLLER) for _ in range(2)] == [first, first]
    first.temporary_state.ray_actor = "one that is made ready for it"
    assert line.head(NO_CONTROLLER) is second
    second.status = "RUNNING"
    assert line.head(NO_CONTROLLER) is None


def test_a_trial_whose_own_worker_is_being_started_takes_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Tune would end the one that is being started, so that a node that joins might never be used."""
    first, second = Waiting(), Waiting()
    line = line_of(first, second)
    assert line.head(controller({first: False, second: False})) is first  # asked for, and there is no room
    assert line.head(controller({first: True, second: False})) is second
    assert line.head(controller({first: True, second: True})) is None
    monkeypatch.setattr(waiting_line, "PATIENCE_SECONDS", 0.0)
    assert line.head(controller({first: True, second: False})) is first
