"""Runs a search or an evaluation: connects its driver, Ray Tune and its record, and records how the run ended.

A search's confirmation runs here too, after its trials. Does not know how trials or candidates are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

from ray import tune
from ray.tune.schedulers import TrialScheduler

from orchestrator.cluster import TrialSource, run_tune, stopping_on_interrupt
from orchestrator.config import SchedulerSettings, make_scheduler
from orchestrator.confirmation import CANDIDATES, Race, plan_confirmation
from orchestrator.errors import CellscoutError, SearchError, last_line
from orchestrator.progress import ConfirmationView, Progress, RefreshOnStep, SearchView
from orchestrator.record import (
    ENDED,
    Event,
    EventLog,
    FollowUps,
    Listener,
    RecordedRun,
    RunDirectory,
    RunEnded,
    RunInfo,
    RunOutcome,
    RunState,
    exhaustion,
    now,
    write_tables,
)
from orchestrator.report import PageRefresher, refresh
from orchestrator.search.best_network import put_in_best, without_weights
from orchestrator.search.checkpoint_cleanup import CheckpointCleanup
from orchestrator.search.recorder import Recorder
from orchestrator.search.repeated_trials import RepeatedTrials
from orchestrator.search.setup import RunEnvironment, SearchComponents
from orchestrator.search.submissions import SubmissionSearcher
from orchestrator.tracking import tracked
from trainables import TrialPlan
from trainables.checkpoints import CheckpointFolder
from trainables.settings import printable


class TrialDriver(Protocol):
    """Chooses and records trials: `driver.Driver` for a search, `EvaluationDriver` for an evaluation."""

    @property
    def searcher(self) -> TrialSource:
        """Chooses the next trial."""

    @property
    def recorder(self) -> tune.Callback:
        """Records what happens to each trial."""

    @property
    def listeners(self) -> Sequence[Listener]:
        """Must receive the run's events, in this order."""

    def resume(self) -> None:
        """Continue the trials of the record that have not ended. Called before anything is trained."""

    def finish(self) -> RunOutcome:
        """Return how the run ended. Called when nothing is left to train."""


@dataclass(frozen=True, kw_only=True)
class SearchSession:
    """Everything that a search or an evaluation needs to run."""

    components: SearchComponents
    environment: RunEnvironment
    directory: RunDirectory
    info: RunInfo
    log: EventLog
    state: RunState
    progress: Progress
    listeners: Sequence[Listener] = ()
    """Of the caller's own: receive all events, after the state."""

    def run(
        self,
        first: Sequence[Event],
        make_driver: Callable[[], AbstractContextManager[TrialDriver]],
        *,
        resumed: bool = False,
    ) -> RunInfo:
        """Run until the budget is spent or something stops the run, and record how it ended.

        Args:
            first: events to record before all others.
            make_driver: makes the driver, after these events are in the state.
            resumed: whether the record may have unfinished trials.

        Returns:
            The final content of `run.json`.

        Raises:
            SearchError: the run could not continue.
        """
        outcome: RunOutcome = "failed"
        reason = None
        # The listeners of the log, in the order in which they get each event: `state`, because all others read it; the
        # caller's; trackers, which read the events before theirs from `state`; the cleanup of checkpoints (`_run`);
        # and those of the driver, or during the confirmation that of its trainings.
        self.log.listen(self.state.apply, *self.listeners)
        # Trackers are outermost, so that a slow tool delays the end only after the record is complete.
        with tracked(
            self.components.config, directory=self.directory, info=self.info, state=self.state, say=self.progress.line
        ) as trackers:
            try:
                self.log.append(*first)
                outcome = self._run(make_driver(), [tracker.apply for tracker in trackers], resumed)
                reason = exhaustion(self.state) if outcome == "exhausted" else None
            except KeyboardInterrupt:
                outcome = "interrupted"
                raise
            except Exception as error:
                found = self._explain(error)
                reason = printable(found)
                if found is error:
                    raise
                raise found from found.__cause__ or error
            finally:
                ended = self._conclude(outcome, reason)
        return ended

    def _run(
        self, driver_context: AbstractContextManager[TrialDriver], trackers: Sequence[Listener], resumed: bool
    ) -> RunOutcome:
        """Train the trials of the driver, and then confirm the winner of a search. Return how the run ended."""
        config, stopper = self.components.config, self.environment.stopper
        searching = self.state.evaluation is None
        # An evaluation needs only scores: it keeps no weights, and it is shown on the page of its search.
        keep = max(config.run.keep_best, config.confirmation.candidates or CANDIDATES) if searching else 0
        page = PageRefresher(self.directory, self.progress) if searching else nullcontext()
        with CheckpointCleanup(self._checkpoints, self.state, keep) as cleanup, page:
            self.log.listen(*trackers, cleanup.apply)
            # For a search this starts the sampler's thread. The search's own study and candidates do not receive the
            # trainings of the confirmation.
            with driver_context as driver, self.log.listening(*driver.listeners):
                if resumed:
                    driver.resume()
                stopper.start_clock(
                    self.state.active_seconds(),
                    lambda: config.fraction_for_search(any_completed=self.state.best is not None),
                )
                view = SearchView(config, self.state, self._plan.milestones, info=self.info)
                stopped = self._train(
                    driver.searcher,
                    driver.recorder,
                    scheduler=self.components.scheduler,
                    plan=self._plan,
                    view=view,
                )
                outcome = stopped or driver.finish()
            if outcome == "exhausted":
                self.progress.line(f"the search ends before its budget: {exhaustion(self.state)}")
            if searching and outcome in ENDED:
                return self._confirm(outcome)
            return outcome

    def _confirm(self, outcome: RunOutcome) -> RunOutcome:
        """Train the best candidates again, and name the winner. Return how the run ended.

        After a resume too, the search comes first; with nothing left to train it ends at once. The plan on record
        stays, unless the search has trained more or `[confirmation]` has changed. Open trainings continue from their
        checkpoints, before the race names the next one by the state.

        Args:
            outcome: how the search itself ended.
        """
        config, stopper = self.components.config, self.environment.stopper
        planned = plan_confirmation(self.state, config.confirmation, self.info)
        if isinstance(planned, str):
            if config.confirmation.candidates != 0:
                self.progress.line(f"the winner is unconfirmed: {planned}")
            return outcome
        if planned is not self.state.confirmation:
            self.log.append(planned)
        scheduler = make_scheduler(SchedulerSettings(name="fifo"), config.training.epochs, config.objectives.directions)
        plan = replace(self._plan, milestones=())  # nothing is stopped early
        recorder = Recorder(
            self.log,
            state=self.state,
            plan=plan,
            directory=self.directory,
            on_failure=stopper.fail,
            gpus_per_trial=self.environment.allotment.gpus_per_trial,
        )
        repeated = RepeatedTrials(
            self.log,
            state=self.state,
            info=self.info,
            recorder=recorder,
            fresh_splits=config.confirmation.fresh_splits,
            is_over=stopper.stop_all,
        )
        # A process that was killed may have recorded a training without its comparison, by which the race goes on.
        repeated.compare()
        race = Race(self.state)
        view = ConfirmationView(config, self.state, race.expected_trainings)
        stopper.start_clock(self.state.active_seconds())  # a new deadline, also if the search's share is used up
        if not repeated.is_finished():
            self.progress.line(view.announcement(race.most_trainings()))
            with self.log.listening(repeated.apply):
                outcome = self._train(repeated, recorder, scheduler=scheduler, plan=plan, view=view) or outcome
        elif not repeated.has_ended():  # the user asked to stop after the last trial, or the hours are over
            outcome = stopper.outcome or outcome
        self._name_winner()
        return outcome

    def _name_winner(self) -> None:
        """Put the confirmed winner into `best/`, unless it is there."""
        confirmed = self.state.confirmed
        if confirmed is None:
            return
        how = {"winner": "confirmed", "confirmation": confirmed.model_dump(mode="json", exclude={"event", "time"})}
        trial = self.state.trials[confirmed.winner.trial_id]
        is_there = {"trial_id": trial.trial_id, **how}.items() <= self.directory.best_metrics().items()
        if is_there or FollowUps.read(self.directory).evaluated_winner(self.state) is not None:
            return
        if not put_in_best(trial, how, directory=self.directory, plan=self._plan):
            self.progress.line(without_weights(trial))

    def _train(
        self,
        searcher: TrialSource,
        recorder: tune.Callback,
        *,
        scheduler: TrialScheduler,
        plan: TrialPlan,
        view: SearchView | ConfirmationView,
    ) -> RunOutcome | None:
        """Train what the searcher suggests; return what ended it before, or None."""
        stopper, config = self.environment.stopper, self.components.config
        # Once more, because Ray has replaced the signal handlers when it started.
        with self.progress.display(view) as show, stopping_on_interrupt(stopper):
            run_tune(
                self.components.trainable,
                plan=plan,
                data=self.environment.data,
                allotment=self.environment.allotment,
                objective=next(iter(config.objectives.directions.items())),
                searcher=searcher,
                scheduler=scheduler,
                stopper=stopper,
                callbacks=[recorder, RefreshOnStep(show)],
                scratch=self.directory.scratch,
                keeps_workers=isinstance(searcher, SubmissionSearcher),
            )
        if stopper.failure is not None:
            raise stopper.failure
        return stopper.outcome

    @property
    def _plan(self) -> TrialPlan:
        return self.environment.plan

    @property
    def _checkpoints(self) -> CheckpointFolder:
        assert self._plan.checkpoints is not None, "a run in a run directory has a folder for checkpoints"
        return self._plan.checkpoints

    def _conclude(self, outcome: RunOutcome, reason: str | None) -> RunInfo:
        """Record how the run ended, and write `run.json`, the tables and the page. On a full disk, write what fits.

        Raises:
            SearchError: it cannot be written, and the run had not failed before.
        """
        ended = self.info.model_copy(update={"state": outcome, "ended_at": now()})
        try:
            if self.log.failure is None:
                self.log.append(RunEnded(outcome=outcome, reason=reason))
            self.directory.write_info(ended)
            write_tables(self.state, self.directory.folder, self.info.seed)
            if self.state.evaluation is None:
                refresh(RecordedRun(self.directory, ended), self.progress)
        except (OSError, SearchError) as error:
            if outcome != "failed":
                raise SearchError(f"{self.directory} cannot be written: {last_line(error)} (run.storage)") from error
        return ended

    def _explain(self, error: Exception) -> CellscoutError:
        """Return the error that stopped the run, in one line."""
        # The first two are errors of the log and of a callback, which Ray Tune wraps in its own.
        for found in (self.log.failure, self.environment.stopper.failure, error):
            if isinstance(found, CellscoutError):
                return found
        return SearchError(f"the run stopped: {last_line(error)}; its record is in {self.directory}")
