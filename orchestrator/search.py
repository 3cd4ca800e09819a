"""The story of one search: what is asked for, where it runs, what it leaves behind."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import ray
from optuna.samplers import BaseSampler
from ray import tune
from ray.tune.schedulers import TrialScheduler

from orchestrator.cluster import connected, count_slots, gpus_per_trial, node_resources
from orchestrator.config import SamplerSettings, SchedulerSettings, SearchConfig
from orchestrator.errors import CellscoutError, ConfigError, SearchError
from orchestrator.event_log import EventLog
from orchestrator.events import RunEnded, RunOutcome, RunStarted, now
from orchestrator.optuna_searcher import OptunaSearcher
from orchestrator.plugins import resolve
from orchestrator.progress import Progress
from orchestrator.recorder import Recorder
from orchestrator.run_directory import RunDirectory, RunInfo
from orchestrator.run_state import RunState
from orchestrator.samplers import SAMPLERS
from orchestrator.schedulers import SCHEDULERS
from orchestrator.tables import write_tables
from search_spaces import SPACES, CellSpace
from trainables import TRAINABLES, EpochTrainable, TrialPlan
from trainables.datasets import DataError, load_data
from trainables.settings import DataSettings

METRIC = "val_accuracy"

TUNE_ENVIRONMENT = {
    # Ray Tune's own loggers cost more than a short epoch, and one of them imports torch in the driver.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Its snapshots of the experiment grow with the number of trials; our event log is what a run is rebuilt from.
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    # Ctrl-C is ours: see `_stopping_on_interrupt`.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Progress and results are shown by us; without this, `verbose=0` still prints a table.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A trial's error is in the record.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


@dataclass(frozen=True)
class SearchResult:
    """Where the record is, and what it says."""

    directory: RunDirectory
    state: RunState


def run_search(
    config: SearchConfig,
    *,
    run_dir: Path | None = None,
    address: str | None = None,
    progress: Progress | None = None,
    space: CellSpace | None = None,
    sampler: BaseSampler | None = None,
    scheduler: TrialScheduler | None = None,
    trainable: type[EpochTrainable] | None = None,
) -> SearchResult:
    """Search as `config` says and leave the record in the run directory.

    Args:
        config: see `SearchConfig`.
        run_dir: where the record goes; by default a new folder in `run.storage`.
        address: of a running Ray cluster, `auto` or HOST:PORT; by default one is started on this machine.
        progress: shows how it goes.
        space, sampler, scheduler, trainable: instances (a class for `trainable`) in place of those that the
            configuration names.

    Raises:
        InputError: something in the configuration cannot be; nothing was touched.
        SearchError: the search could not go on; the record is whole up to there.
    """
    progress = progress or Progress.silent()
    space = space or _space(config)
    sampler = sampler or _sampler(config.sampler, config.run.seed)
    scheduler = scheduler or _scheduler(config.scheduler, config.training.epochs)
    trainable = trainable or _trainable(config.trainable.name)
    directory = RunDirectory((run_dir or _new_run_dir(config)).absolute())
    directory.check_usable()

    progress.note("starting Ray" if address is None else f"joining the Ray cluster at {address}")
    with connected(address):
        nodes = node_resources()
        gpus = gpus_per_trial(config.resources, nodes)
        slots = count_slots(config.resources.cpus_per_trial, gpus, nodes)
        progress.note(f"reading the data set {config.data.name}")
        data, facts = _load_data(config)
        plan = TrialPlan(
            space=space,
            network=config.network,
            training=config.training,
            image_shape=tuple(facts["image_shape"]),
            classes=len(facts["classes"]),
            milestones=getattr(scheduler, "milestones", None),
            seed=config.run.seed,
            threads=config.resources.cpus_per_trial,
        )
        resources = {"nodes": len(nodes), "slots": slots, "cpus_per_trial": plan.threads, "gpus_per_trial": gpus}
        info = _describe(config, resources, facts)
        directory.create(info)
        state = RunState()
        with EventLog(directory.events, [state.apply]) as log:
            recorder = Recorder(log, state, plan, directory)
            searcher = OptunaSearcher(sampler, max_epochs=config.training.epochs, on_suggestion=recorder.suggested)
            stopper = SearchStopper(config.budget.hours)
            outcome: RunOutcome = "failed"
            try:
                log.append(RunStarted(slots=slots))
                with progress.showing(config, state, plan.milestones) as display, _stopping_on_interrupt(stopper):
                    _tune(config, trainable, plan, data, searcher, scheduler, stopper, [recorder, display], slots, gpus)
                outcome = stopper.outcome or "completed"
            except Exception as error:
                raise _search_error(error, log, directory) from error
            finally:
                if log.failure is None:
                    log.append(RunEnded(outcome=outcome))
                    write_tables(state, directory.path)
                    directory.write_info(info.model_copy(update={"state": outcome, "ended_at": now()}))
    return SearchResult(directory, state)


def _tune(
    config: SearchConfig,
    trainable: type[EpochTrainable],
    plan: TrialPlan,
    data: ray.ObjectRef,
    searcher: OptunaSearcher,
    scheduler: TrialScheduler,
    stopper: tune.Stopper,
    callbacks: list[tune.Callback],
    slots: int,
    gpus: float,
) -> None:
    """Hand everything to Ray Tune and wait for its end."""
    worker = tune.with_resources(
        tune.with_parameters(trainable, plan=plan, data=[data]), {"cpu": plan.threads, "gpu": gpus}
    )
    # One trial a slot is made ready ahead, so that a worker that becomes free has its next one at once.
    environment = {**TUNE_ENVIRONMENT, "TUNE_MAX_PENDING_TRIALS_PG": str(slots)}
    # Ray Tune's own files are of no use after the run; the record is elsewhere.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it has to say is in the record
    with _environment(environment), tempfile.TemporaryDirectory(prefix="cellscout-tune-") as scratch:
        # Not tune.Tuner, which pickles the searcher, the scheduler and the callbacks for a restore that is not used.
        tune.run(
            worker,
            name=config.run.name,
            config=plan.space.param_space(),
            metric=METRIC,
            mode="max",
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=config.budget.trials or -1,
            reuse_actors=True,
            stop=stopper,
            callbacks=callbacks,
            storage_path=scratch,
            raise_on_failed_trial=False,
            verbose=0,
        )


class SearchStopper(tune.Stopper):
    """Ends the search when its hours are over or the user asks; the trials that run then stay unfinished."""

    def __init__(self, hours: float | None) -> None:
        self._deadline = None if hours is None else time.monotonic() + hours * 3600
        self.interrupted = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Single trials are the scheduler's business."""
        return False

    def stop_all(self) -> bool:
        """Whether the search is to end now."""
        return self.outcome is not None

    @property
    def outcome(self) -> RunOutcome | None:
        """Why the search is to end, or None."""
        if self.interrupted:
            return "interrupted"
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "out_of_time"
        return None


@contextlib.contextmanager
def _stopping_on_interrupt(stopper: SearchStopper) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) ends the search in order, the second at once."""

    def handle(number: int, frame: Any) -> None:
        stopper.interrupted = True
        signal.signal(number, signal.default_int_handler)

    try:
        previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: signals are the caller's business
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables, which is how Ray Tune is told most of this, and restore them."""
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


def _space(config: SearchConfig) -> CellSpace:
    space = resolve("space.name", config.space.name, SPACES)
    if not isinstance(space, CellSpace):
        raise ConfigError(f"space.name is {config.space.name!r}, which is no CellSpace")
    return space if config.space.blocks is None else replace(space, blocks=config.space.blocks)


def _sampler(settings: SamplerSettings, seed: int) -> BaseSampler:
    make = resolve("sampler.name", settings.name, SAMPLERS)
    known = settings.name in SAMPLERS
    options = {"seed": seed, **settings.options} if known or _takes(make, "seed") else settings.options
    sampler = _make("sampler", make, options)
    if not isinstance(sampler, BaseSampler):
        raise ConfigError(f"sampler.name is {settings.name!r}, which is no optuna.samplers.BaseSampler")
    return sampler


def _scheduler(settings: SchedulerSettings, max_epochs: int) -> TrialScheduler:
    if settings.name in SCHEDULERS:
        if settings.options:
            raise ConfigError(f"scheduler.options are for 'module:NAME' schedulers; {settings.name!r} takes none")
        return SCHEDULERS[settings.name](max_epochs, settings.min_epochs, settings.reduction_factor)
    make = resolve("scheduler.name", settings.name, SCHEDULERS)
    # Ray Tune's schedulers count reports unless told otherwise; here epochs are what counts.
    options = {"time_attr": "epoch", **settings.options} if _takes(make, "time_attr") else settings.options
    scheduler = _make("scheduler", make, options)
    if not isinstance(scheduler, TrialScheduler):
        raise ConfigError(f"scheduler.name is {settings.name!r}, which is no Ray Tune TrialScheduler")
    return scheduler


def _trainable(name: str) -> type[EpochTrainable]:
    trainable = resolve("trainable.name", name, TRAINABLES)
    if not (inspect.isclass(trainable) and issubclass(trainable, EpochTrainable)):
        raise ConfigError(f"trainable.name is {name!r}, which is no EpochTrainable class")
    return trainable


def _takes(make: Callable[..., Any], parameter: str) -> bool:
    return parameter in inspect.signature(make).parameters


def _make(section: str, make: Callable[..., Any], options: dict[str, Any]) -> Any:
    try:
        return make(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{section}.options = {options}: {error}") from error


def _new_run_dir(config: SearchConfig) -> Path:
    return Path(config.run.storage) / f"{config.run.name}-{now():%Y%m%d-%H%M%S}"


def _load_data(config: SearchConfig) -> tuple[ray.ObjectRef, dict[str, Any]]:
    """Read the data in a Ray task: the driver needs no torch, and workers take the arrays from the object store."""
    task = ray.remote(_load_and_describe).options(num_returns=2)
    settings = config.data.model_copy(update={"root": str(Path(config.data.root).expanduser().absolute())})
    splits, facts = task.remote(settings, config.run.seed)
    try:
        return splits, ray.get(facts)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DataError):
            raise ConfigError(str(error.cause)) from error
        raise


def _load_and_describe(settings: DataSettings, seed: int) -> tuple[Any, dict[str, Any]]:
    splits = load_data(settings, seed)
    return splits, splits.describe()


def _describe(config: SearchConfig, resources: dict[str, Any], facts: dict[str, Any]) -> RunInfo:
    packages = ("cellscout", "torch", "torchvision", "ray", "optuna", "numpy", "pyarrow")
    return RunInfo(
        config=config.model_dump(mode="json"),
        seed=config.run.seed,
        state="running",
        started_at=now(),
        command=sys.argv,
        host=platform.node(),
        versions={"python": platform.python_version(), **{name: version(name) for name in packages}},
        commit=_commit(),
        resources=resources,
        data=facts,
    )


def _commit() -> str | None:
    """Commit of the folder in which the search was started, if it is a git checkout."""
    try:
        return subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _search_error(error: Exception, log: EventLog, directory: RunDirectory) -> CellscoutError:
    """What stopped the search, in one line."""
    if log.failure is not None:
        return SearchError(f"{directory.events} cannot be written: {log.failure.strerror} (run.storage)")
    if isinstance(error, CellscoutError):
        return error
    last_line = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    return SearchError(f"the search stopped: {last_line}; its record is in {directory.path}")


optuna.logging.set_verbosity(optuna.logging.WARNING)
