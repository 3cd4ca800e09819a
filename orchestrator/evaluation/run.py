"""The story of one evaluation: what is evaluated, the random search beside it, the trainings, what they come to."""

from __future__ import annotations

import contextlib
import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import ray

from orchestrator.errors import ConfigError, SearchError
from orchestrator.evaluation.candidates import EvaluatedSearch, candidates_of
from orchestrator.evaluation.driver import EvaluationDriver
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
    RunDirectory,
    RunInfo,
    RunResumed,
    RunState,
    describe_run,
    write_table,
)
from orchestrator.report import refresh
from orchestrator.search import (
    Overrides,
    Run,
    RunEnvironment,
    SearchComponents,
    check_same,
    ground,
    resume_search,
    run_search,
    run_started,
)
from search_spaces import CellSpace
from trainables import EpochTrainable
from trainables.datasets import DataError
from trainables.folds import check_folds
from trainables.storage import reason


@dataclass(frozen=True)
class EvaluationResult:
    """Where the record is, how it stands, and what it says; `outcome` is None before anything was trained."""

    directory: RunDirectory
    state: str
    outcome: Outcome | None


def evaluate(
    run_dir: Path | str,
    settings: EvaluationSettings | None = None,
    *,
    evaluation_dir: Path | str | None = None,
    address: str | None = None,
    progress: Progress | None = None,
    space: CellSpace | None = None,
    trainable: type[EpochTrainable] | None = None,
) -> EvaluationResult:
    """Evaluate the best of a search by repeated stratified cross-validation, and test their differences.

    Every candidate is trained for the whole of `training.epochs`, once for each fold of each seed, on the training and
    validation images of the search; never on the test images. What is on record of the same evaluation is gone on with,
    and one that has ended is only told again.

    Args:
        run_dir: of the search, a path or a URI.
        settings: see `EvaluationSettings`.
        evaluation_dir: where the record goes; by default `evaluation/` in the run directory.
        address, progress: as for `run_search`.
        space, trainable: the instances that the search was given, if it was.

    Raises:
        InputError: the search cannot be evaluated so, or another evaluation is there; nothing was touched.
        SearchError: it could not go on; the record is whole up to there.
    """
    progress = progress or Progress.silent()
    settings = settings or EvaluationSettings()
    searched = EvaluatedSearch.read(run_dir)
    wanted = request_of(settings, searched)
    directory = searched.directory / EVALUATION if evaluation_dir is None else RunDirectory.at(evaluation_dir)
    before = find_recorded(directory, wanted)
    parts = SearchComponents.of(searched.evaluation_config(), Overrides(space, trainable=trainable))
    rungs = SearchComponents.of(searched.random_config(), Overrides(space, trainable=trainable)).milestones
    if before is None or before.state not in ENDED:
        state = _Evaluation(searched, wanted, directory, parts, progress).run(before, address)
    else:
        state = directory.read_state()
    standing = directory.read_info().state
    if state.evaluation is None:
        return EvaluationResult(directory, standing, None)
    sample = (directory / RANDOM).read_state() if wanted.baseline else None
    outcome = outcome_of(state, searched.state, sample, rungs, parts.config.training.epochs)
    _write(outcome, directory)
    if evaluation_dir is None:
        refresh(searched.directory, progress)
    return EvaluationResult(directory, standing, outcome)


@dataclass(frozen=True)
class _Evaluation:
    """One that has not ended."""

    searched: EvaluatedSearch
    wanted: EvaluationInfo
    directory: RunDirectory
    parts: SearchComponents
    progress: Progress

    def run(self, before: RunInfo | None, address: str | None) -> RunState:
        """Train what is not on record; the state at the end."""
        config = self.parts.config
        with contextlib.ExitStack() as stack:
            # Before anything else, so that no second process begins with the same.
            log = None if before is None else stack.enter_context(EventLog.reopen(self.directory))
            found = stack.enter_context(ground(config, self.directory, address, self.progress))
            self._check(found)
            plan = self.parts.plan(found.facts, self.directory)
            if log is None or before is None:
                info = describe_run(config, asdict(found.allotment), found.facts).model_copy(
                    update={"evaluation": self.wanted}
                )
                self.directory.create(info)
                log = stack.enter_context(EventLog.create(self.directory))
            else:
                info = before.going_on(config, asdict(found.allotment))
                self.directory.write_info(info)
            self.progress.note(f"recording in {self.directory}")
            state = RunState.replay(self.directory.read_events())
            log.listen(state.apply)
            sample = self._sample(address) if self.wanted.baseline else None
            if sample is not None and sample.outcome not in ENDED:
                self.directory.write_info(info.model_copy(update={"state": sample.outcome}))
                return state
            run = Run(self.parts, plan, found, self.directory, info, log, state, self.progress)
            run.conduct(self._first(state, found, sample), lambda: contextlib.nullcontext(EvaluationDriver(run)))
        return state

    def _check(self, found: RunEnvironment) -> None:
        """Refuse images and a space that are not the search's, and more folds than there can be.

        Raises:
            ConfigError: says what.
        """
        check_same(self.searched.info, found.facts, self.searched.events, self.parts)
        try:
            check_folds(ray.get(found.data), self.wanted.folds)
        except DataError as error:
            raise ConfigError(f"{error} (--folds)") from error

    def _sample(self, address: str | None) -> RunState:
        """A random search with the budget and the scheduler of the search, in a run directory of its own."""
        directory = self.directory / RANDOM
        begun = directory.folder.has(INFO)
        if begun and directory.read_info().state in ENDED:
            return directory.read_state()
        self.progress.note("searching at random at equal cost")
        go_on = resume_search if begun else functools.partial(run_search, self.searched.random_config())
        result = go_on(
            run_dir=directory.location,
            address=address,
            progress=self.progress,
            space=self.parts.space,
            trainable=self.parts.trainable,
        )
        return result.state

    def _first(self, state: RunState, found: RunEnvironment, sample: RunState | None) -> list[Event]:
        """What is recorded before anything is trained; some of it may be on record."""
        slots = found.allotment.slots_on_record
        first: list[Event] = [RunResumed(slots=slots)]
        if state.started_at is None:
            first = [run_started(self.parts.config, found.allotment, self.parts.distributions)]
        if state.evaluation is not None:
            return first
        best = [self.searched.state.trials[trial_id] for trial_id in self.wanted.candidates]
        candidates = candidates_of(best, None if sample is None else sample.best)
        seeds = [self.searched.config.run.seed + 1 + number for number in range(self.wanted.seeds)]
        return [*first, EvaluationPlanned(candidates=candidates, folds=self.wanted.folds, seeds=seeds)]


def _write(outcome: Outcome, directory: RunDirectory) -> None:
    """`evaluation.json` and the table of candidates, which are derived from the record.

    Raises:
        SearchError: they cannot be written.
    """
    try:
        directory.folder.write(EVALUATION_RESULT, json.dumps(evaluation_json(outcome), indent=2).encode() + b"\n")
        write_table(candidates_table(outcome), directory.folder, CANDIDATES)
    except OSError as error:
        raise SearchError(f"{directory} cannot be written: {reason(error)} (--evaluation-dir)") from error
