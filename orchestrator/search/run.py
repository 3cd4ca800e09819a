"""Runs a search from its settings to its record, and resumes one after a stop.

What happens to single trials is up to `Driver`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
from optuna.samplers import BaseSampler
from ray.tune.schedulers import TrialScheduler

from orchestrator.config import CHANGEABLE, OWN_LOOP, SearchConfig, change_config, parse_config
from orchestrator.errors import ConfigError
from orchestrator.progress import Progress, describe, describe_confirmed
from orchestrator.record import (
    ENDED,
    TRIALS,
    CandidatesCompared,
    CandidatesQueued,
    Event,
    EventLog,
    Listener,
    RecordedRun,
    RunDirectory,
    RunInfo,
    RunResumed,
    RunStarted,
    RunState,
    Trial,
    TrialImported,
    describe_run,
    epoch_table,
    now,
    trial_table,
)
from orchestrator.search.driver import Driver
from orchestrator.search.passed import PassedParts
from orchestrator.search.session import SearchSession
from orchestrator.search.setup import SearchComponents, check_unchanged, run_environment
from orchestrator.search.submissions import Submissions
from orchestrator.search.warm_start import WarmStart, queue_candidates
from orchestrator.study import LiveStudy, count_known_when_asked
from orchestrator.words import counted
from search_spaces import CellSpace
from trainables import EpochTrainable


@dataclass(frozen=True)
class SearchResult:
    """The result of a search: where its record is, and what the record says."""

    directory: RunDirectory
    state: RunState
    info: RunInfo

    def __repr__(self) -> str:
        if self.winner is None:
            found = "no winner"
        elif self.confirmation is None:
            found = f"winner {describe(self.winner, self.state)}"
        else:
            found = f"winner {describe_confirmed(self.confirmation, self.state)}"
        return f"<SearchResult {self.directory}: {self.info.state}, {found}>"

    @property
    def config(self) -> SearchConfig:
        """The settings of the search."""
        return parse_config(self.info.config, "the recorded configuration")

    @property
    def winner(self) -> Trial | None:
        """The confirmed winner; without a confirmation the trial with the best score. None if none has completed."""
        return self.state.winner

    @property
    def reason(self) -> str | None:
        """Why the search ended before its budget because nothing was left to train; None if it did not."""
        return self.state.reason

    @property
    def confirmation(self) -> CandidatesCompared | None:
        """What the new trainings say about the best candidates; None if the winner is unconfirmed."""
        return self.state.confirmed

    @property
    def front(self) -> list[Trial]:
        """The Pareto front: the confirmed one if there is one. With one objective, the best trials."""
        return self.state.winning_front

    def trials(self) -> pa.Table:
        """Return one row per trial, as in `trials.parquet`. `.to_pandas()` makes a data frame of it."""
        return trial_table(self.state, self.info.seed)

    def epochs(self) -> pa.Table:
        """Return one row per trial and epoch, as in `epochs.parquet`. `.to_pandas()` makes a data frame of it."""
        return epoch_table(self.state)


def run_search(
    config: SearchConfig,
    *,
    run_dir: Path | str | None = None,
    address: str | None = None,
    progress: Progress | None = None,
    on_event: Listener | None = None,
    space: CellSpace | None = None,
    sampler: BaseSampler | None = None,
    scheduler: TrialScheduler | None = None,
    trainable: type[EpochTrainable] | None = None,
) -> SearchResult:
    """Run a search with the settings in `config`, and write its record to the run directory.

    Args:
        config: see `SearchConfig`.
        run_dir: a path or a URI for the record; by default a new folder in `run.storage`.
        address: of a running Ray cluster, `auto` or HOST:PORT; by default one is started on this machine.
        progress: shows the progress of the search.
        on_event: called with each event that is recorded, such as `EpochDone` and `TrialEnded`. The search waits for
            it, and fails if it raises.
        space, sampler, scheduler, trainable: instances (for `trainable` a class) instead of those that the
            configuration names. The record names their classes and options.

    Raises:
        InputError: the configuration cannot be used; nothing was changed.
        SearchError: the search could not continue; its record is complete up to then.
    """
    check_settings(config)
    if config.sampler.name == OWN_LOOP:
        raise ConfigError(f"sampler.name = {OWN_LOOP!r} is reserved for CandidatePool; name a sampler")
    given = PassedParts(space, sampler, scheduler, trainable)
    with open_search(config, given, run_dir=run_dir, address=address, progress=progress, on_event=on_event) as search:
        return search.run()


def resume_search(
    run_dir: Path | str,
    changes: Sequence[str] = (),
    *,
    address: str | None = None,
    progress: Progress | None = None,
    on_event: Listener | None = None,
    space: CellSpace | None = None,
    sampler: BaseSampler | None = None,
    scheduler: TrialScheduler | None = None,
    trainable: type[EpochTrainable] | None = None,
) -> SearchResult:
    """Continue a search from the end of its record, however it ended. With a larger budget, extend a finished search.

    Args:
        run_dir: a path or a URI, where the record is.
        changes: `section.key=value`, for the sections and keys in `CHANGEABLE`. Another sampler learns from all trials
            on record; other architectures in `sampler.start_with` replace those that have not been proposed yet.
            `data.root` is where the same images are now.
        address, progress, on_event: as for a new search.
        space, sampler, scheduler, trainable: those that were passed when it began, again. Others are refused. If a
            change names another sampler, leave out the one that was passed.

    Raises:
        InputError: the run cannot continue; nothing was changed.
        SearchError: the search could not continue; its record is complete up to then.
    """
    given = PassedParts(space, sampler, scheduler, trainable)
    recorded = RecordedRun.of_search(run_dir)
    # Any other standing goes on, also that of a killed search: `died`, because nobody holds the lock of its log.
    if recorded.standing == "completed" and not changes and recorded.directory.folder.has(TRIALS):
        Progress.of(progress).line("nothing is left to train; --set budget.trials=N extends the search")
        return SearchResult(recorded.directory, recorded.state(), recorded.info)
    with reopen_search(recorded, changes, given, address=address, progress=progress, on_event=on_event) as search:
        if isinstance(search.source, Submissions):
            search.session.progress.line(
                "a resume trains what the loop had submitted, and cannot go on with the loop; CandidatePool.resume can"
            )
            search.source.close()
        return search.run()


@dataclass(frozen=True)
class OpenSearch:
    """A search whose record is open, before anything is trained."""

    session: SearchSession
    first: Sequence[Event]
    """To record before all others."""
    source: LiveStudy | Submissions | None
    """Where the candidates come from. None for a new search's study, which is made once the first events are in the
    state; a resume has rebuilt its study."""
    resumed: bool = False

    def run(self) -> SearchResult:
        """Run it to its end.

        Raises:
            SearchError: it could not continue; its record is complete up to then.
        """
        ended = self.session.run(self.first, self._make_driver, resumed=self.resumed)
        return SearchResult(self.session.directory, self.session.state, ended)

    def _make_driver(self) -> Driver:
        session = self.session
        return Driver(
            session.log,
            state=session.state,
            plan=session.environment.plan,
            directory=session.directory,
            source=self.source or _live_study(session.components, session.state),
            scheduler=session.components.scheduler,
            stopper=session.environment.stopper,
            budget=session.components.config.budget.trials,
            gpus_per_trial=session.environment.allotment.gpus_per_trial,
            say=session.progress.line,
        )


def check_settings(config: object) -> None:
    """Refuse what is not the settings of a search.

    Raises:
        ConfigError: says how to get settings.
    """
    if not isinstance(config, SearchConfig):
        raise ConfigError(
            f"config is of the type {type(config).__name__}; settings are needed, as load_config(...) returns them for "
            "a search file or its text (config)"
        )


def _listeners(on_event: Listener | None) -> list[Listener]:
    if on_event is None:
        return []
    if not callable(on_event):
        raise ConfigError(f"on_event is {on_event!r}; a function of an event is needed (on_event=...)")
    return [on_event]


@contextlib.contextmanager
def open_search(
    config: SearchConfig,
    given: PassedParts,
    *,
    run_dir: Path | str | None,
    address: str | None,
    progress: Progress | None,
    on_event: Listener | None,
) -> Iterator[OpenSearch]:
    """Prepare a search, and create its record. For arguments and errors see `run_search`."""
    progress, listeners = Progress.of(progress), _listeners(on_event)
    components = SearchComponents.of(_located(config), given)
    config = components.config
    for line in components.remarks:
        progress.line(line)
    warm_start = WarmStart.read(config)
    warm_start.check_scores(components.trainable.score_bounds)
    imported = warm_start.trials(config, components.space, components.distributions)
    queued = queue_candidates(config.sampler, components.space)
    directory = RunDirectory.at(config.run.new_directory(now()) if run_dir is None else run_dir)
    directory.check_usable()
    with run_environment(components, directory, address=address, progress=progress) as environment:
        warm_start.check_images(config, environment.facts)
        info = describe_run(
            config,
            resources=asdict(environment.allotment),
            data=environment.facts,
            score_bounds=components.trainable.score_bounds,
            passed=components.passed,
        )
        with directory.begin(info) as log:
            progress.note(f"recording in {directory}")
            state = RunState()
            session = SearchSession(
                components=components,
                environment=environment,
                directory=directory,
                info=info,
                log=log,
                state=state,
                progress=progress,
                listeners=listeners,
            )
            first = _first_events(components.run_started(environment.allotment), imported, queued)
            yield OpenSearch(session, first, Submissions(state) if components.sampler is None else None)


@contextlib.contextmanager
def reopen_search(
    recorded: RecordedRun,
    changes: Sequence[str],
    given: PassedParts,
    *,
    address: str | None,
    progress: Progress | None,
    on_event: Listener | None,
) -> Iterator[OpenSearch]:
    """Prepare to continue a search from the end of its record. For arguments and errors see `resume_search`.

    What has to be as before is checked here. `change_config` refuses a change of a setting that is not in `CHANGEABLE`,
    and `PassedParts.check_resume` other objects than were passed in Python when the search began. `EventLog.reopen`
    takes the lock, which a killed process has lost, and cuts off a last line that was not written whole.
    `run_environment` reads the images and starts Ray. `check_unchanged` then refuses other images, bounds of the score,
    or another space. `repair_best` finishes a replacement of `best/` that a killed process began. `_rebuild` makes the
    state and the study from the events; a log without events gets its first ones.
    """
    progress, listeners = Progress.of(progress), _listeners(on_event)
    directory = recorded.directory
    config = _located(change_config(recorded.info.config, changes, CHANGEABLE))
    given.check_resume(recorded, config)
    _check_budget(recorded, config)
    components = SearchComponents.of(config, given)
    restarted = config.sampler.start_with != recorded.config.sampler.start_with
    queued = queue_candidates(config.sampler, components.space) if restarted else None
    with EventLog.reopen(directory) as log:  # locked before it is read, so that no other process continues the search
        events = recorded.events()
        with run_environment(components, directory, address=address, progress=progress) as environment:
            check_unchanged(recorded, facts=environment.facts, events=events, components=components)
            if not events:  # it died before its first event
                imported = WarmStart.read(config).trials(config, components.space, components.distributions)
                queued = queue_candidates(config.sampler, components.space)
                events = _first_events(components.run_started(environment.allotment), imported, queued)
                log.append(*events)  # nobody listens yet: `_rebuild` applies them
                queued = None
            state, source = _rebuild(events, components)
            directory.repair_best()
            info = recorded.info.resumed_with(config, asdict(environment.allotment), components.passed)
            directory.write_info(info)
            open_trials = sum(trial.status == "running" for trial in state.trials.values())
            on_record = counted(len(state.trials), "trial")
            progress.note(f"continuing {directory}: {on_record} on record, {open_trials} open")
            session = SearchSession(
                components=components,
                environment=environment,
                directory=directory,
                info=info,
                log=log,
                state=state,
                progress=progress,
                listeners=listeners,
            )
            first: list[Event] = [RunResumed(slots=environment.allotment.slots_on_record)]
            if queued is not None:
                first.append(queued)  # not before: the time away ends with the first event
            yield OpenSearch(session, first, source, resumed=True)


def _check_budget(recorded: RecordedRun, config: SearchConfig) -> None:
    """Refuse to continue a search that has ended with a budget that it has used up already.

    Raises:
        ConfigError: says how many trials it has, or how many hours it took.
    """
    if recorded.standing not in ENDED:
        return
    state = recorded.state()
    hours, spent = config.budget.hours, state.active_seconds() / 3600
    if hours is not None and hours <= spent:
        raise ConfigError(
            f"budget.hours is {hours:g}, and the search has taken {spent:.3g} hours; give more to continue it, such as "
            f"budget.hours = {2 * spent:.2g}"
        )
    budget, trained = config.budget.trials, state.trained
    if recorded.standing != "completed" or budget is None or budget == recorded.config.budget.trials:
        return
    if budget <= trained:
        raise ConfigError(
            f"budget.trials is {budget}, and {counted(trained, 'trial')} of the completed search have been trained; "
            f"give more than {trained} to extend it"
        )


def _located(config: SearchConfig) -> SearchConfig:
    """The same settings with `data.root` as an absolute path, so that the record holds in every working folder."""
    return config.model_copy(update={"data": config.data.located()})


def _first_events(started: RunStarted, imported: Sequence[TrialImported], queued: CandidatesQueued) -> list[Event]:
    return [started, *imported, *([queued] if queued.params else [])]


def _live_study(components: SearchComponents, state: RunState) -> LiveStudy:
    assert components.sampler is not None, "a loop's own submissions need no study"
    return LiveStudy(components.sampler, state, components.distributions)


def _rebuild(events: Sequence[Event], components: SearchComponents) -> tuple[RunState, LiveStudy | Submissions]:
    """Rebuild the state and the source of candidates from the events.

    A study starts with what it knew when the last candidate was suggested, and then receives the later events. So the
    sampler knows the same at its next suggestion as in a run that never stopped. A proposal that was not recorded yet
    is made again: its random numbers depend on the seed and the trial's number, which are the same.
    """
    if components.sampler is None:
        state = RunState.replay(events)
        return state, Submissions(state)
    known = count_known_when_asked(events)
    state = RunState.replay(events[:known])
    live_study = _live_study(components, state)
    for event in events[known:]:
        state.apply(event)
        live_study.apply(event)
    return state, live_study
