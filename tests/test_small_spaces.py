"""Searches of a space so small that the sampler often proposes a network that is in training or paused."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.objectives import Direction
from orchestrator.record.event_log import EventLog
from orchestrator.record.events import RunStarted
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.samplers import SAMPLERS
from orchestrator.schedulers import SCHEDULERS
from orchestrator.search.driver import Driver
from orchestrator.simulation.controller import Row, simulate
from orchestrator.simulation.simulated_search import BlockingSearcher
from orchestrator.study.distributions import to_distributions, write_distributions
from orchestrator.study.live_study import LiveStudy
from search_spaces import NASNET
from tests.driving import plan_of
from tests.virtual_records import report
from trainables.assignment import Assignment
from trainables.instant_trainable import made_up_limit, made_up_result

SPACE = replace(NASNET, blocks=1, operations=NASNET.operations[:2], combinations=("add",))
NETWORKS = 100
OBJECTIVES: dict[str, Direction] = {"val_accuracy": "maximize"}


def rest(config: dict[str, Any]) -> list[Row]:
    """The remaining epochs of a trial."""
    assignment, params = Assignment.from_config(config)
    limit = made_up_limit(SPACE.decode(params))
    return [report(asdict(made_up_result(limit, epoch))) for epoch in range(assignment.epochs_on_record + 1, 10)]


@pytest.mark.parametrize(
    ("scheduler", "workers"),
    [("asha_promotion", 2), ("asha_promotion", 4), ("pasha", 4), ("hyperband", 4), ("fifo", 16), ("asha", 16)],
)
def test_a_search_ends_once_every_network_was_trained(scheduler: str, workers: int, tmp_path: Path) -> None:
    """It does not wait for a trial to end if all trials are paused."""
    assert SPACE.count_distinct() == NETWORKS
    distributions = to_distributions(SPACE.param_space())
    state, decides = RunState(), SCHEDULERS[scheduler](max_epochs=9, objectives=OBJECTIVES)
    directory = RunDirectory.at(tmp_path)
    with EventLog.create(directory, [state.apply]) as log:
        facts = {"objectives": OBJECTIVES, "constraints": {}, "distributions": write_distributions(distributions)}
        log.append(RunStarted(slots=workers, **facts))
        study = LiveStudy(SAMPLERS["random"](seed=0), state, distributions)
        with Driver(
            log,
            state=state,
            plan=plan_of(SPACE),
            directory=directory,
            source=study,
            scheduler=decides,
            budget=NETWORKS,
        ) as driver:
            log.listen(*driver.listeners)
            searcher, callbacks = BlockingSearcher(driver.searcher), [driver.recorder]
            simulate(searcher, decides, rest, workers=workers, seconds=1e6, callbacks=callbacks)
    counts = state.counts()
    assert counts["completed"] + counts["pruned"] == NETWORKS
    assert set(counts) <= {"completed", "pruned", "duplicate"}
