"""Ray Tune, run for us: the one place that starts it and knows its settings.

Knows what to switch off and why. Does not know what is searched or recorded.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler

from orchestrator.cluster import Allotment
from orchestrator.events import Direction
from orchestrator.optuna_searcher import OptunaSearcher
from orchestrator.proposals import Proposals
from trainables import EpochTrainable, TrialPlan
from trainables.assignment import KEY, Assignment
from trainables.storage import Folder

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
    objective: tuple[str, Direction],
    searcher: OptunaSearcher,
    scheduler: TrialScheduler,
    stopper: tune.Stopper,
    callbacks: Sequence[tune.Callback],
    scratch: Folder,
) -> None:
    """Hand everything to Ray Tune and wait for its end.

    Args:
        trainable, plan, data, allotment: what each worker gets.
        objective: the metric that Ray Tune's own schedulers compare trials by.
        searcher, scheduler, stopper, callbacks: called by Ray Tune.
        scratch: folder for what Ray Tune writes when a trial is paused; all nodes must see it. Deleted at the end.
    """
    metric, direction = objective
    worker = tune.with_resources(
        tune.with_parameters(trainable, plan=plan, data=[data]),
        lambda config: _resources(allotment, config),
    )
    # One trial a slot is made ready ahead, so that a worker that becomes free has its next one at once; those that wait
    # make an autoscaler add nodes.
    environment = {**TUNE_ENVIRONMENT, "TUNE_MAX_PENDING_TRIALS_PG": str(allotment.ahead)}
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it has to say is in the record
    # Ray Tune's own files are of no use after the run; the record is elsewhere.
    with environment_variables(environment), contextlib.ExitStack() as stack:
        stack.callback(scratch.delete)
        # Not tune.Tuner, which pickles the searcher, the scheduler and the callbacks for a restore that is not used.
        tune.run(
            worker,
            name="search",
            config=plan.space.param_space(),
            metric=metric,
            mode="max" if direction == "maximize" else "min",
            search_alg=Proposals(searcher),
            scheduler=scheduler,
            num_samples=-1,  # the searcher keeps the budget
            reuse_actors=True,
            stop=stopper,
            callbacks=list(callbacks),
            storage_path=scratch.path,
            storage_filesystem=scratch.filesystem,
            raise_on_failed_trial=False,
            verbose=0,
        )


def _resources(allotment: Allotment, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray is asked for: one trial may need a larger share of a GPU than the others."""
    gpus = Assignment.of(config)[0].gpus if KEY in config else None
    bundle = {"CPU": float(allotment.cpus_per_trial), "GPU": allotment.gpus_per_trial if gpus is None else gpus}
    return tune.PlacementGroupFactory([{name: amount for name, amount in bundle.items() if amount}])


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
