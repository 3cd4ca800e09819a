"""Runs one simulated search with cellscout's own study, candidates and recorder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from orchestrator.config import SearchConfig, make_skeleton
from orchestrator.record import EventLog, RunDirectory, RunStarted, RunState
from orchestrator.search import Driver, OptunaSearcher, SubmissionSearcher
from orchestrator.simulation.controller import Simulation
from orchestrator.study import LiveStudy, to_distributions, write_distributions
from search_spaces import CellSpace
from trainables import TrialPlan
from trainables.settings import NetworkSettings, TrainingSettings

WAIT_SECONDS = 0.0005
"""Real time between two requests for a suggestion. It takes no time on the virtual clock."""

Simulate = Callable[..., Simulation]
"""`simulate` with all arguments that do not depend on the sampler and the scheduler."""


def simulate_search(
    space: CellSpace, *, epochs: int, sampler: BaseSampler, scheduler: TrialScheduler, run: Simulate
) -> Simulation:
    """Simulate a search with `sampler` and `scheduler` as on Ray; `run` is `simulate` with curves, workers and time."""
    distributions = to_distributions(space.param_space())
    state = RunState()
    config = SearchConfig(network=NetworkSettings(repeats=1, filters=8), training=TrainingSettings(epochs=epochs))
    plan = TrialPlan(  # the costs of a candidate are recorded, and have no effect here
        space=space,
        skeleton=make_skeleton(config, space),
        network=config.network,
        training=config.training,
        image_shape=(32, 32, 1),
        classes=10,
        milestones=None,
        seed=0,
        threads=1,
    )
    log = EventLog(_NoFile(), [state.apply])
    log.append(
        RunStarted(
            slots=1,
            objectives={"val_accuracy": "maximize"},
            constraints={},
            distributions=write_distributions(distributions),
        )
    )
    live_study = LiveStudy(sampler, state, distributions)
    # Not entered as a context: a thread for the sampler would save no time on the virtual clock.
    driver = Driver(
        log,
        state=state,
        plan=plan,
        directory=RunDirectory.at(Path("simulated")),  # nothing is written, because the plan has no checkpoints
        source=live_study,
        scheduler=scheduler,
    )
    log.listen(*driver.listeners)
    return run(BlockingSearcher(driver.searcher), scheduler, callbacks=[driver.recorder])


@final
class _NoFile:
    """Keeps no events: what a simulation needs of them is in the state."""

    location = "the record of a simulation"

    def write(self, lines: bytes, *, at_once: bool) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@final
class BlockingSearcher(Searcher):
    """Waits until another searcher has a suggestion, because `simulate` would leave a worker idle without one."""

    def __init__(self, searcher: OptunaSearcher | SubmissionSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Wait for the next suggestion; return None if a trial must end before there is one."""
        while (suggestion := self._searcher.suggest(trial_id)) is None and not self._searcher.waits:
            time.sleep(WAIT_SECONDS)
        return suggestion

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Pass the result to the wrapped searcher."""
        self._searcher.on_trial_complete(trial_id, result, error)
