"""Runs one evaluation: chooses candidates, searches at random for a baseline, trains, and writes the result.

Does not know how scores are compared.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import ray
from ray.tune.schedulers import TrialScheduler

from orchestrator.errors import ConfigError, SearchError
from orchestrator.evaluation.candidates import EvaluatedSearch, candidates_of
from orchestrator.evaluation.driver import EvaluationDriver
from orchestrator.evaluation.effort import has_begun, remaining_work
from orchestrator.evaluation.outcome import Outcome, outcome_of
from orchestrator.evaluation.request import find_recorded, request_of
from orchestrator.evaluation.settings import EvaluationSettings
from orchestrator.evaluation.tables import CANDIDATES, candidates_table, evaluation_json
from orchestrator.progress import Progress
from orchestrator.record import (
    ENDED,
    EVALUATION,
    EVALUATION_RESULT,
    INFO,
    RANDOM,
    EvaluationInfo,
    EvaluationPlanned,
    Event,
    EventLog,
    FollowUps,
    RecordedRun,
    RunDirectory,
    RunResumed,
    RunState,
    describe_run,
    score_of,
    write_table,
)
from orchestrator.report import refresh
from orchestrator.search import (
    PassedParts,
    RunEnvironment,
    SearchComponents,
    SearchSession,
    check_unchanged,
    put_in_best,
    resume_search,
    run_environment,
    run_search,
    without_weights,
)
from search_spaces import CellSpace
from trainables import EpochTrainable
from trainables.folds import check_folds
from trainables.image_arrays import DataError
from trainables.storage import reason


@dataclass(frozen=True)
class EvaluationResult:
    """The result of an evaluation."""

    directory: RunDirectory
    """Where the record is."""
    state: str
    """How the evaluation ended, as `run.json` says."""
    outcome: Outcome | None
    """What the record says; None if the evaluation ended before its trainings were planned."""


def evaluate(
    run_dir: Path | str,
    settings: EvaluationSettings | None = None,
    *,
    evaluation_dir: Path | str | None = None,
    address: str | None = None,
    progress: Progress | None = None,
    space: CellSpace | None = None,
    scheduler: TrialScheduler | None = None,
    trainable: type[EpochTrainable] | None = None,
) -> EvaluationResult:
    """Evaluate the best candidates of a search by repeated stratified cross-validation, and test their differences.

    Every candidate is trained for the full `training.epochs`, once for each fold of each seed, on the training and
    validation images of the search, never on the test images. If the same evaluation is on record, it continues; if it
    has ended, its result is returned without training. If it has trained nothing, it begins anew with these settings.

    Args:
        run_dir: the run directory of the search, a path or a URI.
        settings: see `EvaluationSettings`.
        evaluation_dir: where the record goes; by default `evaluation/` in the run directory.
        address, progress: as for a search.
        space, scheduler, trainable: those that were passed to the search, again. The scheduler is that of the
            random search.

    Raises:
        InputError: the search cannot be evaluated with these settings, or the directory has another evaluation;
            nothing was changed.
        SearchError: the evaluation could not continue; its record is complete up to then.
    """
    settings, progress = EvaluationSettings.of(settings), Progress.of(progress)
    searched = EvaluatedSearch.read(run_dir, settings.changes)
    wanted = request_of(settings, searched)
    search_dir = searched.run.directory
    directory = search_dir / EVALUATION if evaluation_dir is None else RunDirectory.at(evaluation_dir)
    before = find_recorded(directory, wanted)
    given = PassedParts(space, scheduler=scheduler, trainable=trainable)
    given.check_same(searched.run, ("space", "scheduler", "trainable"))
    components = SearchComponents.of(searched.evaluation_config(), replace(given, scheduler=None))
    if before is not None and before.info.state in ENDED:
        standing, state = before.info.state, before.state()
    else:
        standing, state = _Evaluation(
            searched=searched,
            wanted=wanted,
            changes=settings.changes,
            directory=directory,
            components=components,
            given=given,
            progress=progress,
        ).run(before, address)
    if state.evaluation is None:
        if evaluation_dir is None:
            refresh(searched.run, progress)
        return EvaluationResult(directory, standing, None)
    random_search = RecordedRun.read(directory / RANDOM).state() if wanted.baseline else None
    rungs = SearchComponents.of(searched.random_config(), given).milestones
    outcome = outcome_of(
        state,
        searched=searched.state,
        sample=random_search,
        rungs=rungs,
        epochs=components.config.training.epochs,
        bounds=searched.run.info.bounds_of(score_of(state.objectives)[0]),
        guess=searched.run.info.guess if score_of(state.objectives)[0] == "val_accuracy" else None,
    )
    _write(outcome, directory)
    if evaluation_dir is None:
        _put_in_best(searched, components, progress)
        refresh(searched.run, progress)
    return EvaluationResult(directory, standing, outcome)


@dataclass(frozen=True, kw_only=True)
class _Evaluation:
    """An evaluation that has not ended."""

    searched: EvaluatedSearch
    wanted: EvaluationInfo
    changes: Sequence[str]
    directory: RunDirectory
    components: SearchComponents
    given: PassedParts
    """Also for the random search."""
    progress: Progress

    def run(self, before: RecordedRun | None, address: str | None) -> tuple[str, RunState]:
        """Train what is not on record; return how the run ended, and its state."""
        config, directory = self.components.config, self.directory
        with contextlib.ExitStack() as stack:
            # Lock the log first, so that no second process continues the same evaluation.
            log = None if before is None else stack.enter_context(EventLog.reopen(directory))
            environment = stack.enter_context(
                run_environment(self.components, directory, address=address, progress=self.progress)
            )
            self._check(environment)
            resources = asdict(environment.allotment)
            if log is None or before is None:
                info = describe_run(
                    config,
                    resources=resources,
                    data=environment.facts,
                    score_bounds=self.components.trainable.score_bounds,
                    passed=self.components.passed,
                )
                info = info.model_copy(update={"evaluation": self.wanted})
                log = stack.enter_context(directory.begin(info))
            else:
                if before.info.evaluation != self.wanted:
                    self.progress.line(f"nothing was trained in {directory}, so it begins anew with these settings")
                info = before.info.resumed_with(config, resources, self.components.passed)
                info = info.model_copy(update={"evaluation": self.wanted})
                directory.write_info(info)
            self.progress.note(f"recording in {directory}")
            state = RunState.replay(RecordedRun(directory, info).events())
            self.progress.line(
                remaining_work(
                    self.wanted,
                    searched=self.searched.state,
                    state=state,
                    sample=RunState.replay(EventLog.read(directory / RANDOM, missing_ok=True)),
                    epochs=config.training.epochs,
                    slots=max(1, environment.allotment.slots_on_record),
                )
            )
            random_search = self._search_at_random(address) if self.wanted.baseline else None
            if random_search is not None and random_search.outcome not in ENDED:
                directory.write_info(info.model_copy(update={"state": random_search.outcome}))
                return str(random_search.outcome), state
            session = SearchSession(
                components=self.components,
                environment=environment,
                directory=directory,
                info=info,
                log=log,
                state=state,
                progress=self.progress,
            )
            first = self._first_events(state, environment, random_search)
            ended = session.run(first, lambda: contextlib.nullcontext(EvaluationDriver(session)))
        return ended.state, state

    def _check(self, environment: RunEnvironment) -> None:
        """Refuse images or a space that differ from those of the search, and more folds than the images allow.

        Raises:
            ConfigError: the message says what is wrong.
        """
        check_unchanged(
            self.searched.run, facts=environment.facts, events=self.searched.events, components=self.components
        )
        try:
            check_folds(ray.get(environment.data), self.wanted.folds)
        except DataError as error:
            raise ConfigError(f"{error} (--folds)") from error

    def _search_at_random(self, address: str | None) -> RunState:
        """Search at random with the budget and the scheduler of the search, in its own run directory."""
        directory = self.directory / RANDOM
        before = RecordedRun.read(directory) if directory.folder.has(INFO) else None
        if before is not None and before.info.state in ENDED:
            return before.state()
        self.progress.note("searching at random at equal cost")
        search = (
            functools.partial(run_search, self.searched.random_config())
            if before is None
            else functools.partial(resume_search, changes=self.changes)
        )
        result = search(
            run_dir=directory.location,
            address=address,
            progress=self.progress,
            space=self.given.space,
            scheduler=self.given.scheduler,
            trainable=self.given.trainable,
        )
        return result.state

    def _first_events(
        self, state: RunState, environment: RunEnvironment, random_search: RunState | None
    ) -> list[Event]:
        """Return the events to record before anything is trained; the plan unless it is on record."""
        first: list[Event] = [RunResumed(slots=environment.allotment.slots_on_record)]
        if state.started_at is None:
            first = [self.components.run_started(environment.allotment)]
        if has_begun(state):
            return first
        best = [self.searched.state.trials[trial_id] for trial_id in self.wanted.candidates]
        candidates = candidates_of(best, None if random_search is None else random_search.best)
        seeds = [self.searched.config.run.seed + 1 + number for number in range(self.wanted.seeds)]
        plan, known = EvaluationPlanned(candidates=candidates, folds=self.wanted.folds, seeds=seeds), state.evaluation
        same = known is not None and (known.candidates, known.folds, known.seeds) == (candidates, plan.folds, seeds)
        return first if same else [*first, plan]


def _put_in_best(searched: EvaluatedSearch, components: SearchComponents, progress: Progress) -> None:
    """Put the winner of the evaluation into `best/` of the search, with the weights of its trial if they are kept.

    Raises:
        SearchError: it cannot be written.
    """
    run, state = searched.run, searched.state
    directory = run.directory
    winner = FollowUps.read(directory).evaluated_winner(state)
    if winner is None or directory.best_trial_id() == winner.trial_id:
        return
    plan = components.plan(run.info.data, directory)
    if not put_in_best(winner, {"winner": "evaluated"}, directory=directory, plan=plan):
        progress.line(without_weights(winner))
    progress.line(f"{directory.best} now has the winner of the evaluation, trial {winner.trial_id}")


def _write(outcome: Outcome, directory: RunDirectory) -> None:
    """Write `evaluation.json` and the table of candidates, which are derived from the record.

    Raises:
        SearchError: they cannot be written.
    """
    try:
        directory.folder.write(EVALUATION_RESULT, json.dumps(evaluation_json(outcome), indent=2).encode() + b"\n")
        write_table(candidates_table(outcome), directory.folder, CANDIDATES)
    except OSError as error:
        raise SearchError(f"{directory} cannot be written: {reason(error)} (--evaluation-dir)") from error
