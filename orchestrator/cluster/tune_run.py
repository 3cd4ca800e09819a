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
from ray.tune.execution.tune_controller import TuneController
from ray.tune.schedulers import TrialScheduler

from orchestrator.cluster.allotment import Allotment
from orchestrator.cluster.placement_requests import RequestPool
from orchestrator.cluster.tune_trials import TrialSource, TuneTrials
from orchestrator.errors import ConfigError
from orchestrator.objectives import Direction
from trainables import EpochTrainable, TrialPlan
from trainables.assignment import CONFIG_KEY, Assignment
from trainables.storage import Folder

TUNE_ENVIRONMENT = {
    # Ray Tune's own loggers cost more than a short epoch, and one of them imports torch in the driver.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Its snapshots of the experiment grow with the number of trials; our event log is what a run is rebuilt from.
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    # Ctrl-C is ours: see `orchestrator.cluster.stopping`.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Progress and results are shown by us; without this, `verbose=0` still prints a table.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A trial's error is in the record.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # An `EpochTrainable` always reports what it declares, and only that can be an objective.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
}

ENDED_TRIALS_KEPT = 200


def run_tune(
    trainable: type[EpochTrainable],
    plan: TrialPlan,
    data: ray.ObjectRef,
    allotment: Allotment,
    *,
    objective: tuple[str, Direction],
    searcher: TrialSource,
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

    Raises:
        ConfigError: the scheduler was made with a metric of its own.
    """
    metric, direction = objective
    if not scheduler.set_search_properties(metric, "max" if direction == "maximize" else "min"):
        raise ConfigError(f"the scheduler has a metric of its own; leave it out, {metric} is the first objective")
    worker = tune.with_parameters(trainable, plan=plan, data=[data])
    # One trial a slot is made ready ahead, so that a worker that becomes free has its next one at once; those that wait
    # make an autoscaler add nodes.
    environment = {**TUNE_ENVIRONMENT, "TUNE_MAX_PENDING_TRIALS_PG": str(allotment.ahead)}
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it has to say is in the record
    with environment_variables(environment):
        try:
            experiment = tune.Experiment(
                "search", worker, storage_path=scratch.path, storage_filesystem=scratch.filesystem
            )
            trials = TuneTrials(searcher, experiment, worker, lambda config: _resources(allotment, config))
            # Not tune.Tuner or tune.run, which make their own trials and requests: see `tune_trials`, `kept_requests`.
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
            try:
                while not controller.is_finished():
                    controller.step()
                    _forget_ended(controller)
            finally:
                controller.cleanup()
        finally:
            scratch.delete()  # of no use after the run; the record is elsewhere


def _resources(allotment: Allotment, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray is asked for: one trial may need a larger share of a GPU than the others."""
    gpus = Assignment.from_config(config)[0].gpus if CONFIG_KEY in config else None
    bundle = {"CPU": float(allotment.cpus_per_trial), "GPU": allotment.gpus_per_trial if gpus is None else gpus}
    return tune.PlacementGroupFactory([{name: amount for name, amount in bundle.items() if amount}])


def _forget_ended(controller: TuneController) -> None:
    """Let go of the trials that have ended, some hundred at a time.

    Ray Tune keeps all to the end, some 50 kB each, and its schedulers look through all of them at each step.
    """
    trials, live = controller.get_trials(), controller.get_live_trials()
    if len(trials) < len(live) + ENDED_TRIALS_KEPT:
        return
    trials[:] = [trial for trial in trials if not trial.is_finished()]
    live.intersection_update(trials)
    # There is no other way to them: where it keeps those that have ended, and those it would write into a snapshot.
    for ended in (controller._stopped_trials, controller._failed_trials, controller._trials_to_cache):
        ended.clear()
    # And where it keeps the `stop` that it had in mind for a worker that then was not needed, about 1 kB a trial.
    workers = controller._actor_manager
    stops = workers._pending_actors_to_enqueued_actor_tasks
    for worker in stops.keys() - set(workers.pending_actors):
        del stops[worker]


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
