"""The story of one search: what is asked for, where it runs, what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler

from orchestrator.autoscaling import growth
from orchestrator.cluster import Allotment, allot, check_storage, connected, node_resources
from orchestrator.components import (
    check_metrics,
    find_trainable,
    make_sampler,
    make_scheduler,
    make_skeleton,
    make_space,
)
from orchestrator.config import SearchConfig
from orchestrator.data_task import load_on_cluster
from orchestrator.driver import Driver
from orchestrator.errors import CellscoutError, ConfigError, SearchError, last_line
from orchestrator.event_log import EventLog
from orchestrator.events import RunEnded, RunOutcome, RunStarted, now
from orchestrator.live_study import LiveStudy
from orchestrator.optuna_searcher import to_distributions
from orchestrator.progress import Progress
from orchestrator.run_directory import RunDirectory
from orchestrator.run_info import RunInfo, describe_run
from orchestrator.run_state import RunState
from orchestrator.sampler_fit import check_fits
from orchestrator.stopping import SearchStopper, stopping_on_interrupt
from orchestrator.study_replay import write_distributions
from orchestrator.tables import write_tables
from orchestrator.tune_run import run_tune
from orchestrator.warm_start import imported_trials
from search_spaces import CellSpace
from trainables import EpochTrainable, TrialPlan
from trainables.skeleton import Skeleton
from trainables.storage import Folder


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
    space = space or make_space(config.space)
    objectives = config.objectives.directions
    distributions = to_distributions(space.param_space())
    sampler = sampler or make_sampler(config.sampler, config.run.seed, space)
    check_fits(sampler, distributions, objectives)
    scheduler = scheduler or make_scheduler(config.scheduler, config.training.epochs, objectives)
    trainable = trainable or find_trainable(config.trainable)
    check_metrics(config.objectives, trainable.metrics, measures_latency=config.trainable.measure_latency)
    skeleton = make_skeleton(config.network, space)
    imported = imported_trials(config, space, distributions)
    directory = RunDirectory((run_dir or _new_run_dir(config)).absolute())
    directory.check_usable()

    stopper = SearchStopper(config.budget.hours)
    progress.note("starting Ray" if address is None else f"joining the Ray cluster at {address}")
    # From here on Ctrl-C is a wish and no exception: one that is raised inside Ray's start can crash the process.
    with stopping_on_interrupt(stopper), connected(address):
        stopper.check()
        allotment = allot(config.resources, node_resources(), growth())
        check_storage(Folder.at(directory.path))
        progress.note(f"reading the data set {config.data.name}")
        data, facts = load_on_cluster(config.data, config.run.seed, stopper)
        plan = _plan(config, space, skeleton, scheduler, facts)
        _check(trainable, plan)
        info = describe_run(config, allotment, facts)
        directory.create(info)
        progress.note(f"recording in {directory.path}")
        state = RunState()
        with EventLog(directory.events, [state.apply]) as log:
            outcome: RunOutcome = "failed"
            try:
                log.append(_run_started(config, allotment, distributions), *imported)
                with LiveStudy(sampler, state, distributions) as live_study:
                    driver = Driver(log, state, plan, directory, live_study, scheduler, stopper=stopper)
                    stopper.start_clock()
                    # Again, because Ray's start has put handlers of its own in place.
                    with progress.showing(config, state, plan.milestones) as display, stopping_on_interrupt(stopper):
                        run_tune(
                            trainable,
                            plan,
                            data,
                            allotment,
                            trials=config.budget.trials,
                            objective=next(iter(objectives.items())),
                            searcher=driver.searcher,
                            scheduler=scheduler,
                            stopper=stopper,
                            callbacks=[driver.recorder, display],
                            scratch=directory.path,
                        )
                        if stopper.failure is not None:
                            raise stopper.failure
                    if stopper.outcome is None:
                        driver.candidates.give_up()
                outcome = stopper.outcome or ("exhausted" if driver.searcher.exhausted else "completed")
            except KeyboardInterrupt:
                outcome = "interrupted"
                raise
            except Exception as error:
                raise _search_error(error, log, directory) from error
            finally:
                _conclude(directory, info, log, state, outcome)
    return SearchResult(directory, state)


def _conclude(directory: RunDirectory, info: RunInfo, log: EventLog, state: RunState, outcome: RunOutcome) -> None:
    """Write how the run ended; on a full disk as much of it as there is room for.

    Raises:
        SearchError: it cannot be written, and nothing had failed before, which would be the reason to tell.
    """
    try:
        if log.failure is None:
            log.append(RunEnded(outcome=outcome))
        directory.write_info(info.model_copy(update={"state": outcome, "ended_at": now()}))
        write_tables(state, directory.path)
    except (OSError, SearchError) as error:
        if outcome != "failed":
            raise SearchError(f"{directory.path} cannot be written: {last_line(error)} (run.storage)") from error


def _run_started(
    config: SearchConfig, allotment: Allotment, distributions: Mapping[str, BaseDistribution]
) -> RunStarted:
    return RunStarted(
        slots=allotment.most_slots or allotment.slots,
        objectives=config.objectives.directions,
        constraints=config.objectives.constraints,
        distributions=write_distributions(distributions),
    )


def _new_run_dir(config: SearchConfig) -> Path:
    return Path(config.run.storage) / f"{config.run.name}-{now():%Y%m%d-%H%M%S}"


def _plan(
    config: SearchConfig, space: CellSpace, skeleton: Skeleton, scheduler: TrialScheduler, facts: Mapping[str, Any]
) -> TrialPlan:
    """What all trials have in common."""
    return TrialPlan(
        space=space,
        skeleton=skeleton,
        network=config.network,
        training=config.training,
        image_shape=tuple(facts["image_shape"]),
        classes=len(facts["classes"]),
        milestones=getattr(scheduler, "milestones", None),
        seed=config.run.seed,
        threads=config.resources.cpus_per_trial,
        measure_latency=config.trainable.measure_latency,
    )


def _check(trainable: type[EpochTrainable], plan: TrialPlan) -> None:
    """Refuse what would let every trial fail for the same reason.

    Raises:
        ConfigError: no network can be built with these settings.
    """
    try:
        plan.example()
        trainable.check(plan)
    except ValueError as error:
        raise ConfigError(f"{error} ([space], [network], [training] or data.image_size)") from error


def _search_error(error: Exception, log: EventLog, directory: RunDirectory) -> CellscoutError:
    """What stopped the search, in one line."""
    if log.failure is not None:
        return log.failure  # Ray Tune has wrapped it into its own
    if isinstance(error, CellscoutError):
        return error
    return SearchError(f"the search stopped: {last_line(error)}; its record is in {directory.path}")
