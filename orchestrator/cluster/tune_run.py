"""Runs Ray Tune: the only module that starts it and knows its settings.

Knows what to switch off and why. Does not know what is searched or recorded.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.execution.tune_controller import TuneController
from ray.tune.schedulers import TrialScheduler

from orchestrator.cluster.allotment import Allotment
from orchestrator.cluster.machine import environment_variables
from orchestrator.cluster.placement_requests import RequestPool
from orchestrator.cluster.ray_internals import check_workers, forget_trials, is_worker_starting, keep_workers
from orchestrator.cluster.tune_trials import TrialSource, TuneTrials
from orchestrator.errors import ConfigError
from orchestrator.objectives import Direction
from trainables import EpochTrainable, TrialPlan
from trainables.assignment import CONFIG_KEY, Assignment
from trainables.storage import Folder

TUNE_ENVIRONMENT = {
    # Ray Tune's own loggers cost more than a short epoch, and one of them imports torch in the driver.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Its snapshots of the experiment grow with the number of trials. A run is rebuilt from our event log instead.
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    # `orchestrator.cluster.stopping` handles Ctrl-C.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # `orchestrator.progress` shows progress and results; without this, `verbose=0` still prints a table.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A trial's error is in the record.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # A trainable's code runs in the folder of the command (`trainables.command_folder`), not in one of Ray Tune's.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # An `EpochTrainable` always reports the metrics that it declares, and only these can be objectives.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
}

MIN_ENDED_TRIALS = 200
"""Ended trials are removed from Ray Tune's memory once there are this many."""


def run_tune(
    trainable: type[EpochTrainable],
    *,
    plan: TrialPlan,
    data: ray.ObjectRef,
    allotment: Allotment,
    objective: tuple[str, Direction],
    searcher: TrialSource,
    scheduler: TrialScheduler,
    stopper: tune.Stopper,
    callbacks: Sequence[tune.Callback],
    scratch: Folder,
    keeps_workers: bool = False,
) -> None:
    """Run Ray Tune until it ends. It always begins anew: at a resume, unfinished trials come from `searcher` again.

    Args:
        trainable, plan, data: passed to each worker.
        allotment: the resources of each trial.
        objective: the metric by which Ray Tune's own schedulers compare trials, and its direction.
        searcher, scheduler, stopper, callbacks: called by Ray Tune.
        scratch: folder in which Ray Tune writes paused trials; all nodes must see it. Deleted at the end.
        keeps_workers: whether workers wait for trials that are not known yet.

    Raises:
        ConfigError: the scheduler refuses the objective.
    """
    metric, direction = objective
    if not scheduler.set_search_properties(metric, "max" if direction == "maximize" else "min"):
        raise ConfigError(f"the scheduler refuses {metric}, the first objective; create it without a metric of its own")
    worker = tune.with_parameters(trainable, plan=plan, data=[data])  # in a list: see `EpochTrainable.setup`
    check_workers()
    # One trial per slot is prepared ahead, so that a free worker gets its next trial at once. Waiting trials make an
    # autoscaler add nodes.
    environment = {**TUNE_ENVIRONMENT, "TUNE_MAX_PENDING_TRIALS_PG": str(allotment.ahead)}
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the record has what it would log
    with environment_variables(environment):
        try:
            experiment = tune.Experiment(
                "search", worker, storage_path=scratch.path, storage_filesystem=scratch.filesystem
            )
            trials = TuneTrials(
                searcher, experiment=experiment, worker=worker, resources=lambda config: _resources(allotment, config)
            )
            # Not tune.Tuner or tune.run: they create their own trials and requests. See `tune_trials` and
            # `placement_requests`.
            controller = TuneController(
                search_alg=trials,
                scheduler=scheduler,
                stopper=stopper,
                callbacks=list(callbacks),
                metric=metric,
                storage=experiment.storage,
                reuse_actors=True,
                resource_manager_factory=RequestPool,
            )
            if keeps_workers:
                keep_workers(controller, _resources(allotment, {}), allotment.slots_on_record)
            trials.is_worker_starting = functools.partial(is_worker_starting, controller)
            try:
                while not controller.is_finished():
                    controller.step()
                    forget_trials(controller, min_ended=MIN_ENDED_TRIALS)
            finally:
                controller.cleanup()
        finally:
            scratch.delete()  # not part of the record


def _resources(allotment: Allotment, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """Return the resources of a trial with this configuration; it may need a larger share of a GPU than the others.

    A resume may have other `[resources]` than the run in which it got that share.
    """
    gpus = Assignment.from_config(config)[0].gpus if CONFIG_KEY in config else None
    share = allotment.gpus_per_trial
    bundle = {"CPU": float(allotment.cpus_per_trial), "GPU": max(share, gpus or 0.0) if share else 0.0}
    return tune.PlacementGroupFactory([{name: amount for name, amount in bundle.items() if amount}])
