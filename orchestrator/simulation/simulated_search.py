"""Runs one simulated search with cellscout's own study, candidates and recorder, and measures its regret."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from orchestrator.config import make_skeleton
from orchestrator.record import EventLog, RunDirectory, RunStarted, RunState
from orchestrator.search import Driver, OptunaSearcher, SubmissionSearcher
from orchestrator.simulation.controller import Simulation
from orchestrator.simulation.recorded_curves import RecordedCurves
from orchestrator.study import LiveStudy, to_distributions, write_distributions
from search_spaces import CellSpace
from trainables import TrialPlan
from trainables.settings import NetworkSettings, TrainingSettings

Simulate = Callable[..., Simulation]
"""`simulate` with all arguments that do not depend on the sampler and the scheduler."""

WAIT_SECONDS = 0.0005
"""Real time between two requests for a suggestion. It takes no time on the virtual clock."""


def simulate_search(
    space: CellSpace, *, epochs: int, sampler: BaseSampler, scheduler: TrialScheduler, run: Simulate
) -> Simulation:
    """Simulate a search with `sampler` and `scheduler` as on Ray; `run` is `simulate` with curves, workers and time."""
    distributions = to_distributions(space.param_space())
    state = RunState()
    network = NetworkSettings(repeats=1, filters=8)
    plan = TrialPlan(  # the costs of a candidate are recorded, and have no effect here
        space=space,
        skeleton=make_skeleton(network, space),
        network=network,
        training=TrainingSettings(epochs=epochs),
        image_shape=(32, 32, 1),
        classes=10,
        milestones=None,
        seed=0,
        threads=1,
    )
    with _temporary_folder() as folder, EventLog.create(RunDirectory.at(folder), [state.apply]) as log:
        log.append(
            RunStarted(
                slots=1,
                objectives={"val_accuracy": "maximize"},
                constraints={},
                distributions=write_distributions(distributions),
            )
        )
        live_study = LiveStudy(sampler, state, distributions)
        with Driver(
            log, state=state, plan=plan, directory=RunDirectory.at(folder), source=live_study, scheduler=scheduler
        ) as driver:
            log.listen(*driver.listeners)
            return run(BlockingSearcher(driver.searcher), scheduler, callbacks=[driver.recorder])


def regrets(recorded: RecordedCurves, simulation: Simulation, moments: Sequence[float]) -> list[float]:
    """Return the regret at each moment (seconds on the virtual clock).

    The regret is the final score of the best recorded candidate minus that of the leader. The leader is the candidate
    with the most epochs, and among those the one with the highest score. Before the first report, the leader counts as
    the worst candidate.
    """
    final = recorded.final
    best = final.max()
    places = {id(curve): place for place, curve in enumerate(recorded.curves)}
    known = {trial.trial_id: places[id(trial.rows)] for trial in simulation.trials if trial.rows is not None}
    reports = [event for event in simulation.events if event.kind == "reported"]
    found = []
    for moment in moments:
        leader, standing = None, (0, 0.0)
        for event in reports:
            if event.seconds > moment:
                break
            seen = recorded.curves[known[event.trial_id]][event.epoch - 1].metrics["val_accuracy"]
            if (event.epoch, seen) > standing:
                leader, standing = known[event.trial_id], (event.epoch, seen)
        found.append(float(best - (final.min() if leader is None else final[leader])))
    return found


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Create a folder, in memory if possible, because the time to write the record does not matter here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


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
        """Pass the result to the other searcher."""
        self._searcher.on_trial_complete(trial_id, result, error)
