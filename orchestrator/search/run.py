"""The story of one search: what is asked for, where it runs, what it leaves behind; and how one goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler

from orchestrator.cluster import Allotment
from orchestrator.config import SearchConfig, change_config
from orchestrator.errors import ConfigError, RunDirectoryError
from orchestrator.progress import Progress
from orchestrator.record import (
    Event,
    EventLog,
    RunDirectory,
    RunInfo,
    RunResumed,
    RunStarted,
    RunState,
    check_same_data,
    describe_run,
    now,
)
from orchestrator.search.driver import Driver
from orchestrator.search.session import Run
from orchestrator.search.setup import Overrides, SearchComponents, ground
from orchestrator.search.warm_start import check_images, imported_trials
from orchestrator.study import LiveStudy, known_when_asked, write_distributions
from search_spaces import CellSpace
from trainables import EpochTrainable

CHANGEABLE = ("budget", "resources", "faults", "logging")
"""Sections that may be changed when a search goes on: they do not say what a score means."""


@dataclass(frozen=True)
class SearchResult:
    """Where the record is, and what it says."""

    directory: RunDirectory
    state: RunState


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
        space, sampler, scheduler, trainable: instances (a class for `trainable`) in place of those that the
            configuration names.

    Raises:
        InputError: something in the configuration cannot be; nothing was touched.
        SearchError: the search could not go on; the record is whole up to there.
    """
    progress = progress or Progress.silent()
    parts = SearchComponents.of(config, Overrides(space, sampler, scheduler, trainable))
    if parts.caution is not None:
        progress.line(parts.caution)
    imported = imported_trials(config, parts.space, parts.distributions)
    directory = RunDirectory.at(config.run.new_directory(now()) if run_dir is None else run_dir)
    directory.check_usable()
    with ground(config, directory, address, progress) as found:
        check_images(config, found.facts)
        plan = parts.plan(found.facts, directory)
        info = describe_run(config, asdict(found.allotment), found.facts)
        directory.create(info)
        progress.note(f"recording in {directory}")
        state = RunState()
        with EventLog.create(directory, [state.apply]) as log:
            run = Run(parts, plan, found, directory, info, log, state, progress)
            started = run_started(config, found.allotment, parts.distributions)
            run.conduct(
                [started, *imported],
                lambda: _driving(run, LiveStudy(parts.sampler, state, parts.distributions)),
            )
    return SearchResult(directory, state)


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
    """Go on with a search where its record stands, whatever ended it; or beyond its end, with a larger budget.

    Args:
        run_dir: where the record is, a path or a URI.
        changes: `section.key=value`, of the sections in `CHANGEABLE`.
        address, progress, space, sampler, scheduler, trainable: as for `run_search`; the instances as they were then.

    Raises:
        InputError: the run cannot go on as it is; nothing was touched.
        SearchError: the search could not go on; the record is whole up to there.
    """
    progress = progress or Progress.silent()
    directory = RunDirectory.at(run_dir)
    recorded = directory.read_info()
    if recorded.evaluation is not None:
        raise RunDirectoryError(f"{directory} holds an evaluation; go on with the command that began it")
    config = change_config(recorded.config, changes, CHANGEABLE)
    parts = SearchComponents.of(config, Overrides(space, sampler, scheduler, trainable))
    with EventLog.reopen(directory) as log:
        events = directory.read_events()
        with ground(config, directory, address, progress) as found:
            check_same(recorded, found.facts, events, parts)
            plan = parts.plan(found.facts, directory)
            if not events:  # it died before it began
                imported = imported_trials(config, parts.space, parts.distributions)
                events = [run_started(config, found.allotment, parts.distributions), *imported]
                log.append(*events)
            state, live_study = _replay(events, parts)
            log.listen(state.apply)
            directory.mend_best()
            info = recorded.going_on(config, asdict(found.allotment))
            directory.write_info(info)
            open_trials = sum(trial.status == "running" for trial in state.trials.values())
            progress.note(f"going on with {directory}: {len(state.trials)} trials on record, {open_trials} open")
            run = Run(parts, plan, found, directory, info, log, state, progress)
            run.conduct(
                [RunResumed(slots=found.allotment.slots_on_record)],
                lambda: _driving(run, live_study),
                resumed=True,
            )
    return SearchResult(directory, state)


@contextlib.contextmanager
def _driving(run: Run, live_study: LiveStudy) -> Iterator[Driver]:
    with live_study:
        yield Driver(
            run.log,
            run.state,
            run.plan,
            run.directory,
            live_study,
            run.parts.scheduler,
            stopper=run.ground.stopper,
            budget=run.parts.config.budget.trials,
            gpus_per_trial=run.ground.allotment.gpus_per_trial,
        )


def _replay(events: Sequence[Event], parts: SearchComponents) -> tuple[RunState, LiveStudy]:
    """State and study as they stood. The sampler is asked for its next candidate with what it was told when the last
    one was suggested, as it would have been had nothing happened; of what came after it hears then."""
    known = known_when_asked(events)
    state = RunState.replay(events[:known])
    live_study = LiveStudy(parts.sampler, state, parts.distributions)
    for event in events[known:]:
        state.apply(event)
        live_study.apply(event)
    return state, live_study


def check_same(recorded: RunInfo, facts: Mapping[str, Any], events: Sequence[Event], parts: SearchComponents) -> None:
    """Refuse to go on with other images or another space than those of the record.

    Raises:
        ConfigError, RunDirectoryError: says what differs.
    """
    check_same_data(recorded, facts, parts.config.data.name)
    if not events:
        return
    first = events[0]
    if not isinstance(first, RunStarted):
        raise RunDirectoryError(f"the event log does not begin with the start of a run, but with {first.event!r}")
    if first.distributions != write_distributions(parts.distributions):
        raise ConfigError(
            f"the space {parts.config.space.name!r} is not the one that the search began with: its decisions differ "
            "(space.name)"
        )


def run_started(
    config: SearchConfig, allotment: Allotment, distributions: Mapping[str, BaseDistribution]
) -> RunStarted:
    """The first event of a run."""
    return RunStarted(
        slots=allotment.slots_on_record,
        objectives=config.objectives.directions,
        constraints=config.objectives.constraints,
        distributions=write_distributions(distributions),
    )
