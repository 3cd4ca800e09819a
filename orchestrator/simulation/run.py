"""Simulates searches: setups x workers x seeds, in parallel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import optuna

from orchestrator.errors import CellscoutError, ConfigError, SearchError
from orchestrator.progress import Progress, WorkView
from orchestrator.simulation.answers import Answers
from orchestrator.simulation.controller import SimulationStalledError, simulate
from orchestrator.simulation.processes import run_all
from orchestrator.simulation.recorded_curves import RecordedCurves
from orchestrator.simulation.regret import Regret
from orchestrator.simulation.settings import SimulateSettings
from orchestrator.simulation.setups import Setup, combine
from orchestrator.simulation.simulated_search import simulate_search
from orchestrator.simulation.surrogate import Surrogate


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one simulated search."""

    regret: Regret
    trials: int
    completed: int
    busy: float
    """Fraction of the workers' time that was training, 0..1."""


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """The results of a setup with a number of workers. There is one result for each seed."""

    setup: Setup
    workers: int
    seconds: float
    """The time of each search."""
    outcomes: list[Outcome]

    @property
    def final_regrets(self) -> list[float]:
        """The regret at the end of each search."""
        return [outcome.regret.values[-1] for outcome in self.outcomes]

    def reached(self, target: float) -> list[float | None]:
        """The seconds to the target of each search, in validation accuracy; None where it was not reached."""
        return [outcome.regret.reached(target) for outcome in self.outcomes]


@dataclass(frozen=True, kw_only=True)
class SimulateResult:
    """The results of all setups."""

    candidates: int
    """Candidates on record."""
    epochs: int
    best: float
    """The score of the best candidate that is known, 0..1."""
    answers: str
    """What answered the proposals, in words."""
    trainings: int
    """Time of each search, in full trainings of all workers together."""
    seeds: int
    target: float
    """The regret at which a search has reached its target, in validation accuracy."""
    simulated: list[Simulated]

    def by_workers(self) -> dict[int, list[Simulated]]:
        """The results for each number of workers; the reference comes first."""
        found: dict[int, list[Simulated]] = {}
        for one in self.simulated:
            found.setdefault(one.workers, []).append(one)
        return found


def simulate_searches(
    location: str,
    settings: SimulateSettings | None = None,
    *,
    space_name: str | None = None,
    progress: Progress | None = None,
) -> SimulateResult:
    """Compare samplers and schedulers on recorded curves and a virtual clock, without training.

    Random search without stopping is always among them. Use it below `if __name__ == "__main__":` in a program of
    your own: it starts a process on each core.

    Args:
        location: a run directory, or its `trials.parquet` with `epochs.parquet` beside it.
        settings: see `SimulateSettings`.
        space_name: search space of a table; by default `nasnet`.
        progress: shows the progress.

    Raises:
        InputError: the record cannot be used.
        ConfigError: a name in the settings is unknown, or a value is out of its bounds.
        SearchError: a scheduler or a sampler failed.
    """
    settings, progress = SimulateSettings.of(settings), Progress.of(progress)
    setups = combine(settings.samplers, settings.schedulers)
    recorded = RecordedCurves.read(location, space_name)
    for setup in setups:  # refuse what cannot be before anything is simulated
        setup.make(seed=0, space=recorded.space, epochs=recorded.epochs)
    answers: Answers = Surrogate(recorded) if settings.answers == "surrogate" else recorded
    spread = answers.best - answers.worst
    if settings.target / 100 >= spread:
        raise ConfigError(
            f"target is {settings.target:g} percentage points, and all candidates are within {100 * spread:.2g} of the "
            "best, so the first is near enough: choose a smaller one (--target)"
        )
    trainings = settings.trainings or max(1, len(recorded.curves) // 10)
    workers = list(dict.fromkeys(settings.workers))
    # All setups with the first seed come first, so that the time left is estimated early.
    jobs = [
        _Job(setup, count, seed) for seed, count, setup in itertools.product(range(settings.seeds), workers, setups)
    ]
    outcomes = _simulated(jobs, answers=answers, trainings=trainings, progress=progress)
    return SimulateResult(
        candidates=len(recorded.curves),
        epochs=recorded.epochs,
        best=answers.best,
        answers=answers.note,
        trainings=trainings,
        seeds=settings.seeds,
        target=settings.target / 100,
        simulated=[
            Simulated(
                setup=setup,
                workers=count,
                seconds=_seconds(answers, trainings, count),
                outcomes=[outcomes[_Job(setup, count, seed)] for seed in range(settings.seeds)],
            )
            for count, setup in itertools.product(workers, setups)
        ],
    )


@dataclass(frozen=True)
class _Job:
    """One search."""

    setup: Setup
    workers: int
    seed: int

    def __str__(self) -> str:
        return f"{self.setup}, workers {self.workers}, seed {self.seed}"


def _simulated(jobs: Sequence[_Job], *, answers: Answers, trainings: int, progress: Progress) -> dict[_Job, Outcome]:
    view = WorkView("simulate", "searches")
    found: dict[_Job, Outcome] = {}
    with progress.display(view, ticking=True) as show:
        view.say("simulating")
        view.count(0, len(jobs))
        for job, outcome in run_all(partial(_simulate, answers, trainings), jobs):
            found[job] = outcome
            view.count(len(found), len(jobs))
            show()
    return found


def _simulate(answers: Answers, trainings: int, job: _Job) -> Outcome:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler, scheduler = job.setup.make(seed=job.seed, space=answers.space, epochs=answers.epochs)
    run = partial(
        simulate,
        evaluate=answers.answers(job.seed),
        workers=job.workers,
        seconds=_seconds(answers, trainings, job.workers),
        trials=answers.limit,
    )
    try:
        simulation = simulate_search(
            answers.space, epochs=answers.epochs, sampler=sampler, scheduler=scheduler, run=run
        )
    except (SimulationStalledError, CellscoutError) as error:
        raise SearchError(f"{job}: {error}") from error
    return Outcome(
        regret=Regret.of(simulation, answers),
        trials=len(simulation.trials),
        completed=sum(event.kind == "ended" for event in simulation.events),
        busy=simulation.busy_seconds / (simulation.seconds * job.workers),
    )


def _seconds(answers: Answers, trainings: int, workers: int) -> float:
    return trainings * answers.training_seconds / workers
