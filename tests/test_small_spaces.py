"""A search over so few networks that its sampler often proposes what is being trained, or is paused."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.driver import Driver
from orchestrator.event_log import EventLog
from orchestrator.events import Direction, RunStarted
from orchestrator.live_study import LiveStudy
from orchestrator.optuna_searcher import to_distributions
from orchestrator.patient_searcher import PatientSearcher
from orchestrator.run_directory import RunDirectory
from orchestrator.run_state import RunState
from orchestrator.samplers import SAMPLERS
from orchestrator.schedulers import SCHEDULERS
from orchestrator.simulation import Row, simulate
from orchestrator.study_replay import write_distributions
from search_spaces import NASNET
from tests.driving import plan_of
from tests.test_resume import report
from trainables.assignment import Assignment
from trainables.instant_trainable import made_up_limit, made_up_result

SPACE = replace(NASNET, blocks=1, operations=NASNET.operations[:2], combinations=("add",))
NETWORKS = 100
OBJECTIVES: dict[str, Direction] = {"val_accuracy": "maximize"}


def rest(config: dict[str, Any]) -> list[Row]:
    """A trial's epochs that are still to be trained."""
    assignment, params = Assignment.from_config(config)
    limit = made_up_limit(SPACE.decode(params))
    return [report(asdict(made_up_result(limit, epoch))) for epoch in range(assignment.epochs + 1, 10)]


@pytest.mark.parametrize(
    ("scheduler", "workers"),
    [("asha_promotion", 2), ("asha_promotion", 4), ("hyperband", 4), ("fifo", 16), ("asha", 16)],
)
def test_a_search_ends_when_every_network_was_trained(scheduler: str, workers: int, tmp_path: Path) -> None:
    """And does not wait for an end among trials that are all paused."""
    assert SPACE.count_distinct() == NETWORKS
    distributions = to_distributions(SPACE.param_space())
    state, decides = RunState(), SCHEDULERS[scheduler](max_epochs=9, objectives=OBJECTIVES)
    directory = RunDirectory.at(tmp_path)
    with EventLog.create(directory, [state.apply]) as log:
        facts = {"objectives": OBJECTIVES, "constraints": {}, "distributions": write_distributions(distributions)}
        log.append(RunStarted(slots=workers, **facts))
        with LiveStudy(SAMPLERS["random"](seed=0), state, distributions) as study:
            driver = Driver(log, state, plan_of(SPACE), directory, study, decides, budget=NETWORKS)
            searcher, callbacks = PatientSearcher(driver.searcher), [driver.recorder]
            simulate(searcher, decides, rest, workers=workers, seconds=1e6, callbacks=callbacks)
    counts = state.counts()
    assert counts["completed"] + counts["pruned"] == NETWORKS
    assert set(counts) <= {"completed", "pruned", "duplicate"}
