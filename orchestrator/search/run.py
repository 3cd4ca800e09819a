"""The story of a search: what is asked for, where it runs, what it leaves behind; and how it goes on after a stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler

from orchestrator.config import SearchConfig, change_config
from orchestrator.progress import Progress
from orchestrator.record import (
    Event,
    EventLog,
    RecordedRun,
    RunDirectory,
    RunInfo,
    RunResumed,
    RunState,
    describe_run,
    now,
)
from orchestrator.search.driver import Driver
from orchestrator.search.session import SearchSession
from orchestrator.search.setup import Overrides, SearchComponents, check_same, run_environment
from orchestrator.search.warm_start import WarmStart
from orchestrator.study import LiveStudy, known_when_asked
from search_spaces import CellSpace
from trainables import EpochTrainable

CHANGEABLE = ("budget", "resources", "faults", "logging")
"""Sections that may change when a search goes on: they do not decide what a score means."""


@dataclass(frozen=True)
class SearchResult:
    """Where the record is, and what it says."""

    directory: RunDirectory
    state: RunState
    info: RunInfo


def run_search(
    config: SearchConfig,
    *,
    run_dir: Path | str | None = None,
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
        run_dir: where the record goes, a path or a URI; by default a new folder in `run.storage`.
        address: of a running Ray cluster, `auto` or HOST:PORT; by default one is started on this machine.
        progress: shows how it goes.
        space, sampler, scheduler, trainable: instances (for `trainable` a class) in place of those that the
            configuration names.

    Raises:
        InputError: the configuration cannot be used; nothing was touched.
        SearchError: the search could not go on; its record is whole up to there.
    """
    progress = progress or Progress.silent()
    components = SearchComponents.of(config, Overrides(space, sampler, scheduler, trainable))
    if components.caution is not None:
        progress.line(components.caution)
    warm_start = WarmStart.read(config)
    imported = warm_start.trials(config, components.space, components.distributions)
    directory = RunDirectory.at(config.run.new_directory(now()) if run_dir is None else run_dir)
    directory.check_usable()
    with run_environment(config, directory, address=address, progress=progress) as environment:
        warm_start.check_images(config, environment.facts)
        plan = components.plan(environment.facts, directory)
        info = describe_run(config, asdict(environment.allotment), environment.facts)
        directory.create(info)
        progress.note(f"recording in {directory}")
        state = RunState()
        with EventLog.create(directory) as log:
            session = SearchSession(components, plan, environment, directory, info, log, state, progress)
            ended = session.run(
                [components.run_started(environment.allotment), *imported],
                lambda: _driver(session, LiveStudy(components.sampler, state, components.distributions)),
            )
    return SearchResult(directory, state, ended)


def resume_search(
    run_dir: Path | str,
    changes: Sequence[str] = (),
    *,
    address: str | None = None,
    progress: Progress | None = None,
    space: CellSpace | None = None,
    sampler: BaseSampler | None = None,
    scheduler: TrialScheduler | None = None,
    trainable: type[EpochTrainable] | None = None,
) -> SearchResult:
    """Continue a search where its record ends, whatever ended it; or beyond its end, with a larger budget.

    Args:
        run_dir: where the record is, a path or a URI.
        changes: `section.key=value`, of the sections in `CHANGEABLE`.
        address, progress, space, sampler, scheduler, trainable: as for `run_search`; the instances as they were then.

    Raises:
        InputError: the run cannot go on; nothing was touched.
        SearchError: the search could not go on; its record is whole up to there.
    """
    progress = progress or Progress.silent()
    recorded = RecordedRun.of_search(run_dir)
    directory = recorded.directory
    config = change_config(recorded.info.config, changes, CHANGEABLE)
    components = SearchComponents.of(config, Overrides(space, sampler, scheduler, trainable))
    with EventLog.reopen(directory) as log:
        events = recorded.events()
        with run_environment(config, directory, address=address, progress=progress) as environment:
            check_same(recorded, environment.facts, events, components)
            plan = components.plan(environment.facts, directory)
            if not events:  # it died before its first event
                imported = WarmStart.read(config).trials(config, components.space, components.distributions)
                events = [components.run_started(environment.allotment), *imported]
                log.append(*events)
            state, live_study = _replay(events, components)
            directory.mend_best()
            info = recorded.info.going_on(config, asdict(environment.allotment))
            directory.write_info(info)
            open_trials = sum(trial.status == "running" for trial in state.trials.values())
            progress.note(f"going on with {directory}: {len(state.trials)} trials on record, {open_trials} open")
            session = SearchSession(components, plan, environment, directory, info, log, state, progress)
            ended = session.run(
                [RunResumed(slots=environment.allotment.slots_on_record)],
                lambda: _driver(session, live_study),
                resumed=True,
            )
    return SearchResult(directory, state, ended)


def _replay(events: Sequence[Event], components: SearchComponents) -> tuple[RunState, LiveStudy]:
    """Rebuild state and study.

    The study begins with what it knew when the last candidate was suggested, and then receives the later events. So the
    sampler is asked for its next candidate with the same knowledge as if nothing had happened.
    """
    known = known_when_asked(events)
    state = RunState.replay(events[:known])
    live_study = LiveStudy(components.sampler, state, components.distributions)
    for event in events[known:]:
        state.apply(event)
        live_study.apply(event)
    return state, live_study


def _driver(session: SearchSession, live_study: LiveStudy) -> Driver:
    return Driver(
        session.log,
        session.state,
        session.plan,
        session.directory,
        live_study,
        session.components.scheduler,
        stopper=session.environment.stopper,
        budget=session.components.config.budget.trials,
        gpus_per_trial=session.environment.allotment.gpus_per_trial,
    )
