"""Ray Tune, run for us: the one place that starts it and knows its settings.

Knows what to switch off and why. Does not know what is searched or recorded.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from orchestrator.cluster import Allotment
from orchestrator.events import Direction
from trainables import EpochTrainable, TrialPlan

TUNE_ENVIRONMENT = {
    # Ray Tune's own loggers cost more than a short epoch, and one of them imports torch in the driver.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Its snapshots of the experiment grow with the number of trials; our event log is what a run is rebuilt from.
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    # Ctrl-C is ours: see `orchestrator.stopping`.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Progress and results are shown by us; without this, `verbose=0` still prints a table.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A trial's error is in the record.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


def run_tune(
    trainable: type[EpochTrainable],
    plan: TrialPlan,
    data: ray.ObjectRef,
    allotment: Allotment,
    *,
    trials: int | None,
    objective: tuple[str, Direction],
    searcher: Searcher,
    scheduler: TrialScheduler,
    stopper: tune.Stopper,
    callbacks: Sequence[tune.Callback],
    scratch: Path,
) -> None:
    """Hand everything to Ray Tune and wait for its end.

    Args:
        trainable, plan, data, allotment: what each worker gets.
        trials: how many; None means as many as there is time for.
        objective: the metric that Ray Tune's own schedulers compare trials by.
        searcher, scheduler, stopper, callbacks: called by Ray Tune.
        scratch: folder for the checkpoints of paused trials; on a cluster all nodes must see it.
    """
    metric, direction = objective
    worker = tune.with_resources(
        tune.with_parameters(trainable, plan=plan, data=[data]),
        {"cpu": allotment.cpus_per_trial, "gpu": allotment.gpus_per_trial},
    )
    # One trial a slot is made ready ahead, so that a worker that becomes free has its next one at once; those that wait
    # make an autoscaler add nodes.
    environment = {**TUNE_ENVIRONMENT, "TUNE_MAX_PENDING_TRIALS_PG": str(allotment.ahead)}
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it has to say is in the record
    # Ray Tune's own files are of no use after the run; the record is elsewhere.
    with environment_variables(environment), tempfile.TemporaryDirectory(prefix="tune-", dir=scratch) as storage:
        # Not tune.Tuner, which pickles the searcher, the scheduler and the callbacks for a restore that is not used.
        tune.run(
            worker,
            name="search",
            config=plan.space.param_space(),
            metric=metric,
            mode="max" if direction == "maximize" else "min",
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1 if trials is None else trials,
            reuse_actors=True,
            stop=stopper,
            callbacks=list(callbacks),
            storage_path=storage,
            raise_on_failed_trial=False,
            verbose=0,
        )


@contextlib.contextmanager
def environment_variables(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables, which is how Ray Tune is told most of its settings, and restore them."""
    previous = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in previous.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
