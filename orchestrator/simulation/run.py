"""Simulates searches on recorded curves: samplers x schedulers x workers, several seeds each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import optuna

from orchestrator.config import SamplerSettings, SchedulerSettings, check_fits, make_sampler, make_scheduler
from orchestrator.errors import SearchError
from orchestrator.objectives import Direction
from orchestrator.progress import Progress, Refresh, WorkView
from orchestrator.simulation.controller import SimulationStalledError, simulate
from orchestrator.simulation.recorded_curves import RecordedCurves
from orchestrator.simulation.settings import SimulateSettings
from orchestrator.simulation.simulated_search import regrets, simulate_search
from orchestrator.study import to_distributions

MOMENTS = (0.1, 0.25, 0.5, 1.0)
"""Fractions of the time at which the regret is measured."""

OBJECTIVES: dict[str, Direction] = {"val_accuracy": "maximize"}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A sampler, a scheduler and a number of workers."""

    sampler: str
    scheduler: str
    workers: int


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """The results of a setup, one value for each seed."""

    setup: Setup
    regrets: list[list[float]]
    """Regret at each of `MOMENTS`, in validation accuracy, 0..1."""
    trials: list[int]
    completed: list[int]
    busy: list[float]
    """Fraction of the workers' time that was training, 0..1."""


@dataclass(frozen=True)
class SimulateResult:
    """The results of all setups."""

    candidates: int
    """Candidates on record."""
    epochs: int
    trainings: int
    """Time of each search, in full trainings of all workers together."""
    seeds: int
    simulated: list[Simulated]


def simulate_searches(
    location: str,
    settings: SimulateSettings | None = None,
    *,
    space_name: str | None = None,
    progress: Progress | None = None,
) -> SimulateResult:
    """Compare samplers and schedulers on recorded curves and a virtual clock, without training.

    Args:
        location: a run directory, or its `trials.parquet` with `epochs.parquet` beside it.
        settings: see `SimulateSettings`.
        space_name: search space of a table; by default `nasnet`.
        progress: shows the progress.

    Raises:
        InputError: the record cannot be used, or a name in the settings is unknown.
        SearchError: a scheduler or a sampler failed.
    """
    settings, progress = settings or SimulateSettings(), progress or Progress.silent()
    recorded = RecordedCurves.read(location, space_name)
    trainings = settings.trainings or max(1, len(recorded.curves) // 10)
    setups = [
        Setup(sampler=sampler, scheduler=scheduler, workers=workers)
        for workers, scheduler, sampler in itertools.product(settings.workers, settings.schedulers, settings.samplers)
    ]
    for setup in setups:
        _check(setup, recorded)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    view = WorkView("simulate", "searches")
    with progress.display(view, ticking=True) as show:
        found = _simulated(setups, seeds=settings.seeds, recorded=recorded, trainings=trainings, view=view, show=show)
    return SimulateResult(len(recorded.curves), recorded.epochs, trainings, settings.seeds, found)


def _check(setup: Setup, recorded: RecordedCurves) -> None:
    """Refuse unknown names and samplers that do not fit, before anything is simulated."""
    sampler = make_sampler(SamplerSettings(name=setup.sampler), 0, recorded.space)
    check_fits(sampler, to_distributions(recorded.space.param_space()), OBJECTIVES)
    make_scheduler(SchedulerSettings(name=setup.scheduler), recorded.epochs, OBJECTIVES)


def _simulated(
    setups: Sequence[Setup], *, seeds: int, recorded: RecordedCurves, trainings: int, view: WorkView, show: Refresh
) -> list[Simulated]:
    found = [Simulated(setup=setup, regrets=[], trials=[], completed=[], busy=[]) for setup in setups]
    # All setups with the first seed come first, so that the time left is estimated early.
    jobs = list(itertools.product(range(seeds), found))
    for number, (seed, one) in enumerate(jobs):
        setup = one.setup
        view.say(f"{setup.sampler} with {setup.scheduler}, {setup.workers} workers, seed {seed}")
        view.count(number, len(jobs))
        show()
        _add(one, seed=seed, recorded=recorded, trainings=trainings)
    return found


def _add(one: Simulated, *, seed: int, recorded: RecordedCurves, trainings: int) -> None:
    """Simulate a setup with one seed."""
    setup = one.setup
    seconds = trainings * recorded.training_seconds / setup.workers
    run = partial(
        simulate,
        evaluate=recorded.answers(),
        workers=setup.workers,
        seconds=seconds,
        trials=len(recorded.curves),
    )
    sampler = make_sampler(SamplerSettings(name=setup.sampler), seed, recorded.space)
    scheduler = make_scheduler(SchedulerSettings(name=setup.scheduler), recorded.epochs, OBJECTIVES)
    try:
        simulation = simulate_search(
            recorded.space, epochs=recorded.epochs, sampler=sampler, scheduler=scheduler, run=run
        )
    except SimulationStalledError as error:
        raise SearchError(f"the scheduler {setup.scheduler!r} stalls on {setup.workers} workers: {error}") from error
    one.regrets.append(regrets(recorded, simulation, [moment * seconds for moment in MOMENTS]))
    one.trials.append(len(simulation.trials))
    one.completed.append(sum(event.kind == "ended" for event in simulation.events))
    one.busy.append(simulation.busy_seconds / (simulation.seconds * setup.workers))
