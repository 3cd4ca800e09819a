"""What the driver uses of Ray that Ray does not promise: each access by name, with the version that it was read in.

Ray has no public function for any of these. Without one of them a search continues, and the warning says what is lost.
The workers' accesses are in `trainables.preemption`.

Used as well, but public for developers of Ray ("DeveloperAPI"), and not guarded because no search runs without them:
`TuneController`, `Trial`, `SearchAlgorithm` and `ResourceManager`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import ray
import yaml
from ray.job_config import JobConfig
from ray.tune import PlacementGroupFactory
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from trainables.library_internals import Internal, warn_once
from trainables.preemption import DRAINING_NODES

READ_IN = "2.60.0"

_MORE_MEMORY = "trials that have ended stay in the driver's memory, about 50 kB each"
_FEWER_WORKERS = "between two submissions of a loop only one worker is kept, and others are started anew"
_LATER_NODES = "a worker that is being started may be ended unused, so nodes that join may be used late or never"

DASHBOARD_URL = Internal("ray", "_private.worker.get_dashboard_url", READ_IN, "the dashboard's address is not shown")
CLUSTERS_ENABLED = Internal(
    "ray",
    "_private.ray_constants.ENABLE_RAY_CLUSTER",
    READ_IN,
    "a Ray that is started here may listen on the network, not only on 127.0.0.1",
)
PATH_OF_WORKERS = Internal(
    "ray", "_py_driver_sys_path", READ_IN, "workers search the working folder for modules before the installed packages"
)
STOPPED_TRIALS = Internal("ray", "_stopped_trials", READ_IN, _MORE_MEMORY)
FAILED_TRIALS = Internal("ray", "_failed_trials", READ_IN, _MORE_MEMORY)
UNSAVED_TRIALS = Internal("ray", "_trials_to_cache", READ_IN, _MORE_MEMORY)
ACTORS_OF_TRIALS = Internal("ray", "_trial_to_actor", READ_IN, _LATER_NODES)
ACTOR_MANAGER = Internal("ray", "_actor_manager", READ_IN, f"{_LATER_NODES}, and the driver's memory grows")
ACTOR_STARTED = Internal("ray", "is_actor_started", READ_IN, _LATER_NODES)
ACTOR_CACHE = Internal("ray", "_actor_cache", READ_IN, _FEWER_WORKERS)
INCREASE_CACHE = Internal("ray", "increase_max", READ_IN, _FEWER_WORKERS)
PENDING_ACTORS = Internal("ray", "pending_actors", READ_IN, "the driver's memory grows by about 1 kB a trial")
ENQUEUED_TASKS = Internal(
    "ray", "_pending_actors_to_enqueued_actor_tasks", READ_IN, "the driver's memory grows by about 1 kB a trial"
)

CLUSTERS_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""The environment variable from which Ray sets `CLUSTERS_ENABLED` when it is imported."""

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set in a process that Ray's job server has started."""

GCS_OPTION = "--gcs-address"
CONFIG_OPTION = "--autoscaling-config"
"""Options of the process `autoscaler/.../monitor.py` that Ray 2.60.0 starts on a cluster's head."""


def dashboard_url() -> str | None:
    """Return the address of the initialised Ray's dashboard, HOST:PORT or a URL; None or empty if there is none.

    `ray.init(ignore_reinit_error=True).dashboard_url` is public, but also replaces the process's SIGTERM handler.
    """
    read = DASHBOARD_URL.read(ray)
    return None if read is None else read()


@contextlib.contextmanager
def listening_on_loopback() -> Iterator[None]:
    """Make a Ray that is started meanwhile listen on 127.0.0.1 only, as it does by default on macOS and Windows.

    On Linux its ports would be open to the network: it turns even `_node_ip_address="127.0.0.1"` into the network's
    address. Ray reads the variable `CLUSTERS_VARIABLE` when it is imported. So this process needs the constant, and the
    processes that Ray starts need the variable. A variable that is already set is left as it is.
    """
    if CLUSTERS_VARIABLE in os.environ:
        yield
        return
    os.environ[CLUSTERS_VARIABLE] = "0"
    try:
        with CLUSTERS_ENABLED.replaced(ray, False):
            yield
    finally:
        del os.environ[CLUSTERS_VARIABLE]


_APART: ContextVar[bool] = ContextVar("_APART", default=False)


@contextlib.contextmanager
def apart_from_our_group() -> Iterator[None]:
    """Give each process that Ray starts meanwhile a process group of its own, on Linux.

    A SIGTERM to our group, as `timeout` sends it, would otherwise end Ray before the search, which would then wait a
    minute for it in vain; Ray itself only protects its processes from Ctrl-C. It starts them with a `preexec_fn`, for
    which Python calls its hooks of a fork. Only on Linux do Ray's processes end with ours without being in our group.
    """
    token = _APART.set(sys.platform == "linux")
    try:
        yield
    finally:
        _APART.reset(token)


def _leave_group() -> None:
    if _APART.get():
        os.setpgrp()


os.register_at_fork(after_in_child=_leave_group)  # once, because a hook cannot be removed


def check_loopback() -> None:
    """Warn once if the Ray that was started here listens on more than the loopback address."""
    if os.environ.get(CLUSTERS_VARIABLE) != "0":  # the user has decided otherwise
        return
    if CLUSTERS_ENABLED.read(ray) is None:  # which has been reported
        return
    addresses = [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]
    if not all(ipaddress.ip_address(address).is_loopback for address in addresses):
        warn_once(
            f"ray {ray.__version__} listens on {', '.join(addresses)}, not only on 127.0.0.1; to prevent that, set "
            f"{CLUSTERS_VARIABLE}=0 before Python starts"
        )


def job_config() -> JobConfig | None:
    """Return a configuration by which workers search for modules in the order in which this process does.

    Otherwise Ray puts the working folder first in every worker, and a file of it that is called like a package would be
    imported instead of the package. Returns None in a job, where Ray gives every process the job's own folder.
    """
    return None if JOB_VARIABLE in os.environ else _DriversPath()


class _DriversPath(JobConfig):
    def _serialize(self) -> str:
        path = PATH_OF_WORKERS.read(self)
        # The working folder and the script's. A worker inserts one after the other at the front of its own path.
        if path is not None:
            ours = [str(Path(folder).absolute()) for folder in sys.path]  # "" is the working folder
            path[:] = reversed([*ours, *(folder for folder in path if folder not in ours)])
        return super()._serialize()


def autoscaler_configuration(gcs_address: str) -> tuple[dict[str, Any] | None, str]:
    """Return the configuration of this head's autoscaler, and what of Ray is gone (empty if nothing is).

    The configuration is empty if there is no autoscaler. It is None if the autoscaler runs elsewhere, as KubeRay's.
    Runs on the head, perhaps in a Ray task, whose warnings are not shown.

    Args:
        gcs_address: of the cluster, HOST:PORT; several can have their head on this machine.
    """
    try:
        import psutil  # comes with Ray, which makes it importable
    except ImportError:
        return {}, "no psutil"
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    monitors = [words for words in commands if any("autoscaler" in w and w.endswith("monitor.py") for w in words)]
    for words in monitors:
        if _option(words, GCS_OPTION).rpartition(":")[2] == gcs_address.rpartition(":")[2]:
            path = _option(words, CONFIG_OPTION)
            return dict(yaml.safe_load(Path(path).expanduser().read_text())) if path else {}, ""
    if monitors and not any(_option(words, GCS_OPTION) for words in monitors):
        return {}, f"no option {GCS_OPTION} of its monitor process"
    return None, ""


def _option(words: list[str], name: str) -> str:
    """Return the value of an option in a command line; empty if it is not there."""
    return next((word.partition("=")[2] for word in words if word.partition("=")[0] == name), "")


def report_autoscaler(gone: str) -> None:
    """Warn once that the autoscaler's configuration cannot be found."""
    warn_once(
        f"ray {ray.__version__} has {gone}, by which ray {READ_IN} shows its autoscaler's configuration: nodes that it "
        "may add are not counted"
    )


def check_workers() -> None:
    """Warn once about what workers miss, whose own warnings are only in Ray's logs."""
    DRAINING_NODES.read(ray)


def is_worker_starting(controller: TuneController, trial: Trial) -> bool:
    """Whether Ray Tune is starting a worker for this trial; False if that cannot be seen."""
    actors, manager = ACTORS_OF_TRIALS.read(controller), ACTOR_MANAGER.read(controller)
    if actors is None or manager is None or trial not in actors:
        return False
    is_started = ACTOR_STARTED.read(manager)
    return is_started is not None and bool(is_started(actors[trial]))


def keep_workers(controller: TuneController, request: PlacementGroupFactory, number: int) -> None:
    """Have Ray Tune keep this many workers that have nothing to do; by itself it keeps one.

    Args:
        controller: of a run that has not begun.
        request: the resources of a worker.
        number: of workers.
    """
    cache = ACTOR_CACHE.read(controller)
    increase = None if cache is None else INCREASE_CACHE.read(cache)
    if increase is not None:
        increase(request, by=number)


def forget_trials(controller: TuneController, *, min_ended: int) -> None:
    """Remove the trials that have ended from Ray Tune's collections, as soon as there are `min_ended` of them.

    Ray Tune keeps every trial until the end, about 50 kB each, and its schedulers go through all of them at each step.
    """
    trials, live = controller.get_trials(), controller.get_live_trials()
    if len(trials) < len(live) + min_ended:
        return
    if controller.get_trials() is not trials or controller.get_live_trials() is not live:
        warn_once(f"ray {ray.__version__} gives copies of its trials, not its own as ray {READ_IN}: {_MORE_MEMORY}")
        return
    trials[:] = [trial for trial in trials if not trial.is_finished()]
    live.intersection_update(trials)
    for internal in (STOPPED_TRIALS, FAILED_TRIALS, UNSAVED_TRIALS):
        ended = internal.read(controller)
        if ended is not None:
            ended.clear()
    manager = ACTOR_MANAGER.read(controller)
    if manager is not None:
        _forget_tasks(manager)


def _forget_tasks(manager: Any) -> None:
    """Remove the `stop` tasks enqueued for workers that then were not needed, about 1 kB a trial."""
    tasks, pending = ENQUEUED_TASKS.read(manager), PENDING_ACTORS.read(manager)
    if tasks is not None and pending is not None:
        for actor in tasks.keys() - set(pending):
            del tasks[actor]
