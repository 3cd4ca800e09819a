"""A search or an evaluation while it runs: its driver and Ray Tune put together around its record, up to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from ray import tune

from orchestrator.cluster import TrialSource, run_tune, stopping_on_interrupt
from orchestrator.errors import CellscoutError, SearchError, last_line
from orchestrator.progress import Progress, RefreshOnStep, SearchView
from orchestrator.record import (
    Event,
    EventLog,
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
from orchestrator.search.checkpoint_cleanup import CheckpointCleanup
from orchestrator.search.setup import RunEnvironment, SearchComponents
from orchestrator.tracking import tracked
from trainables import TrialPlan
from trainables.checkpoints import CheckpointFolder


class TrialDriver(Protocol):
    """Decides between the record and Ray Tune: `driver.Driver` for a search, `EvaluationDriver` for an evaluation."""

    @property
    def searcher(self) -> TrialSource:
        """Says what is trained next."""

    @property
    def recorder(self) -> tune.Callback:
        """Records what becomes of each trial."""

    @property
    def listeners(self) -> Sequence[Listener]:
        """What must receive the run's events, in this order."""

    def resume(self) -> None:
        """Take up the unfinished trials of a record."""

    def finish(self) -> RunOutcome:
        """Say how the run ended, now that nothing is left to train."""


@dataclass(frozen=True)
class SearchSession:
    """All that a search or an evaluation needs to run."""

    components: SearchComponents
    plan: TrialPlan
    environment: RunEnvironment
    directory: RunDirectory
    info: RunInfo
    log: EventLog
    state: RunState
    progress: Progress

    def run(
        self,
        first: Sequence[Event],
        make_driver: Callable[[], AbstractContextManager[TrialDriver]],
        *,
        resumed: bool = False,
    ) -> RunInfo:
        """Run until the budget is spent or something stops the run, and record how it ended.

        Args:
            first: recorded before anything else.
            make_driver: called once these events are in the state.
            resumed: the record has unfinished trials.

        Returns:
            What `run.json` says at the end.

        Raises:
            SearchError: the run could not go on.
        """
        outcome: RunOutcome = "failed"
        self.log.listen(self.state.apply)
        # Trackers are the outermost: a slow tool is waited for when the record is whole.
        with tracked(self.components.config, self.directory, self.info, self.state, self.progress.line) as trackers:
            try:
                self.log.append(*first)
                outcome = self._run(make_driver(), [tracker.apply for tracker in trackers], resumed)
            except KeyboardInterrupt:
                outcome = "interrupted"
                raise
            except Exception as error:
                raise self._explain(error) from error
            finally:
                ended = self._conclude(outcome)
        return ended

    def _run(
        self, make_driver: AbstractContextManager[TrialDriver], trackers: Sequence[Listener], resumed: bool
    ) -> RunOutcome:
        config, stopper = self.components.config, self.environment.stopper
        # An evaluation is about scores; it keeps no weights, and is shown on the page of its search.
        keep = config.run.keep_best if self.state.evaluation is None else 0
        page = PageRefresher(self.directory, self.progress) if self.state.evaluation is None else nullcontext()
        with CheckpointCleanup(self._checkpoints, self.state, keep) as cleanup, page, make_driver as driver:
            # All listeners of the log, in this order; `state` is before them, because all of them read it.
            self.log.listen(*trackers, *driver.listeners, cleanup.apply)
            if resumed:
                driver.resume()
            stopper.start_clock(self.state.active_seconds())
            view = SearchView(config, self.state, self.plan.milestones)
            # Again, because Ray's start has installed handlers of its own.
            with self.progress.display(view) as show, stopping_on_interrupt(stopper):
                run_tune(
                    self.components.trainable,
                    self.plan,
                    self.environment.data,
                    self.environment.allotment,
                    objective=next(iter(config.objectives.directions.items())),
                    searcher=driver.searcher,
                    scheduler=self.components.scheduler,
                    stopper=stopper,
                    callbacks=[driver.recorder, RefreshOnStep(show)],
                    scratch=self.directory.scratch,
                )
            if stopper.failure is not None:
                raise stopper.failure
            if stopper.outcome is not None:
                return stopper.outcome
            outcome = driver.finish()
            if outcome == "exhausted":
                self.progress.line(f"the search ends before its budget: {exhaustion(self.state)}")
            return outcome

    @property
    def _checkpoints(self) -> CheckpointFolder:
        assert self.plan.checkpoints is not None, "a run directory has a place for them"
        return self.plan.checkpoints

    def _conclude(self, outcome: RunOutcome) -> RunInfo:
        """Write how the run ended; on a full disk, as much of it as fits.

        Raises:
            SearchError: it cannot be written, and nothing had failed before.
        """
        ended = self.info.model_copy(update={"state": outcome, "ended_at": now()})
        try:
            if self.log.failure is None:
                self.log.append(RunEnded(outcome=outcome))
            self.directory.write_info(ended)
            write_tables(self.state, self.directory.folder)
            if self.state.evaluation is None:
                refresh(RecordedRun(self.directory, ended), self.progress)
        except (OSError, SearchError) as error:
            if outcome != "failed":
                raise SearchError(f"{self.directory} cannot be written: {last_line(error)} (run.storage)") from error
        return ended

    def _explain(self, error: Exception) -> CellscoutError:
        """What stopped the run, in one line."""
        if self.log.failure is not None:
            return self.log.failure  # Ray Tune has wrapped it into an error of its own
        if isinstance(error, CellscoutError):
            return error
        return SearchError(f"it stopped: {last_line(error)}; its record is in {self.directory}")
