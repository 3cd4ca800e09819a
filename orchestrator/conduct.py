"""A search or an evaluation that runs: driver and Ray Tune put together around its record, up to how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from ray import tune

from orchestrator.candidates import exhaustion
from orchestrator.errors import CellscoutError, SearchError, last_line
from orchestrator.event_log import EventLog
from orchestrator.events import Event, RunEnded, RunOutcome, now
from orchestrator.housekeeping import Housekeeper
from orchestrator.page.keeping import PageKeeper, refresh
from orchestrator.preparation import Ground, Parts
from orchestrator.progress import Progress
from orchestrator.progress.search_view import RefreshOnStep, SearchView
from orchestrator.run_directory import RunDirectory
from orchestrator.run_info import RunInfo
from orchestrator.run_state import RunState
from orchestrator.stopping import stopping_on_interrupt
from orchestrator.tables import write_tables
from orchestrator.tracking import tracked
from orchestrator.tune_run import run_tune
from orchestrator.tune_trials import HandsOut
from trainables import TrialPlan
from trainables.checkpoints import CheckpointFolder


class Drives(Protocol):
    """What decides between the record and Ray Tune: for a search `driver.Driver`."""

    @property
    def searcher(self) -> HandsOut:
        """Says what is trained next."""

    @property
    def recorder(self) -> tune.Callback:
        """Records what becomes of it."""

    def resume(self) -> None:
        """Take up the trials of a record that goes on."""

    def finish(self) -> RunOutcome:
        """There is nothing more to train: how the run ended."""


@dataclass(frozen=True)
class Run:
    """All that a search or an evaluation needs to run. `state` is a listener of `log`."""

    parts: Parts
    plan: TrialPlan
    ground: Ground
    directory: RunDirectory
    info: RunInfo
    log: EventLog
    state: RunState
    progress: Progress

    def conduct(
        self,
        first: Sequence[Event],
        driving: Callable[[], AbstractContextManager[Drives]],
        *,
        resumed: bool = False,
    ) -> None:
        """Run until the budget is spent or something stops it, and record how it ended.

        Args:
            first: what to record before anything else.
            driving: makes what drives it once that is recorded.
            resumed: the record has trials to go on with.

        Raises:
            SearchError: it could not go on.
        """
        outcome: RunOutcome = "failed"
        # Around all the rest: what a slow tool has not been told yet is waited for when the record is whole.
        with tracked(self.parts.config, self.directory, self.info, self.state, self.progress.line) as trackers:
            for tracker in trackers:
                self.log.listen(tracker.apply)
            try:
                self.log.append(*first)
                outcome = self._run(driving(), resumed)
            except KeyboardInterrupt:
                outcome = "interrupted"
                raise
            except Exception as error:
                raise self._explain(error) from error
            finally:
                self._conclude(outcome)

    def _run(self, driving: AbstractContextManager[Drives], resumed: bool) -> RunOutcome:
        config, stopper = self.parts.config, self.ground.stopper
        # Of an evaluation the scores are what counts, and no weights are kept.
        keep = config.run.keep_best if self.state.evaluation is None else 0
        # Its search's page tells of an evaluation.
        page = PageKeeper(self.directory, self.progress) if self.state.evaluation is None else nullcontext()
        with Housekeeper(self._checkpoints, self.state, keep) as housekeeper, page, driving as driver:
            self.log.listen(housekeeper.apply)
            if resumed:
                driver.resume()
            stopper.start_clock(self.state.active_seconds())
            view = SearchView(config, self.state, self.plan.milestones)
            # Again, because Ray's start has put handlers of its own in place.
            with (
                self.progress.display(view) as show,
                stopping_on_interrupt(stopper),
            ):
                run_tune(
                    self.parts.trainable,
                    self.plan,
                    self.ground.data,
                    self.ground.allotment,
                    objective=next(iter(config.objectives.directions.items())),
                    searcher=driver.searcher,
                    scheduler=self.parts.scheduler,
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

    def _conclude(self, outcome: RunOutcome) -> None:
        """Write how the run ended; on a full disk as much of it as there is room for.

        Raises:
            SearchError: it cannot be written, and nothing had failed before, which would be the reason to tell.
        """
        try:
            if self.log.failure is None:
                self.log.append(RunEnded(outcome=outcome))
            self.directory.write_info(self.info.model_copy(update={"state": outcome, "ended_at": now()}))
            write_tables(self.state, self.directory.folder)
            if self.state.evaluation is None:
                refresh(self.directory, self.progress)
        except (OSError, SearchError) as error:
            if outcome != "failed":
                raise SearchError(f"{self.directory} cannot be written: {last_line(error)} (run.storage)") from error

    def _explain(self, error: Exception) -> CellscoutError:
        """What stopped it, in one line."""
        if self.log.failure is not None:
            return self.log.failure  # Ray Tune has wrapped it into its own
        if isinstance(error, CellscoutError):
            return error
        return SearchError(f"it stopped: {last_line(error)}; its record is in {self.directory}")
