"""The driver of an evaluation: a fixed list of trainings instead of a sampler, and the same recorder as a search.

Does not know how the trainings were planned, nor how they are compared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, final

from orchestrator.record import Event, RunOutcome, RunState, Trial, TrialSetBack
from orchestrator.search import Recorder, SearchSession, assignment_of, check_any_trained


@final
class PlannedTrials:
    """Gives Ray Tune the recorded trials that have not ended, in order. Its listener must be registered after `state`.

    Args:
        state: of the evaluation; it already has all planned trials.
        assign: called with Ray Tune's id of a trial and the trial of the record; returns the worker's configuration.
        is_over: whether the evaluation must end before its trials do.
    """

    def __init__(
        self, state: RunState, assign: Callable[[str, Trial], dict[str, Any]], is_over: Callable[[], bool]
    ) -> None:
        self._state = state
        self._assign = assign
        self._is_over = is_over
        self._waiting = deque(trial for trial in state.trials.values() if trial.status == "running")

    def apply(self, event: Event) -> None:
        """Put a trial that lost its worker first in the queue. The event log calls it with each event."""
        if isinstance(event, TrialSetBack):
            self._waiting.appendleft(self._state.trials[event.trial_id])

    def is_finished(self) -> bool:
        """Whether there is no trial to start. False again if a trial loses its worker afterwards."""
        return self._is_over() or not self._waiting

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the worker's configuration for the next trial; None if there is none."""
        return None if self.is_finished() else self._assign(trial_id, self._waiting.popleft())

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the event log already has it."""


@final
class EvaluationDriver:
    """The searcher and the recorder of an evaluation. Make it after the plan is on record."""

    def __init__(self, run: SearchSession) -> None:
        stopper = run.environment.stopper
        self.recorder = Recorder(
            run.log,
            state=run.state,
            plan=run.environment.plan,
            directory=run.directory,
            on_failure=stopper.fail,
            gpus_per_trial=run.environment.allotment.gpus_per_trial,
        )
        self._state = run.state
        self.searcher = PlannedTrials(run.state, self._assign, stopper.stop_all)
        self.listeners = [self.searcher.apply]

    def resume(self) -> None:
        """Do nothing: the queue has only trials that have not ended."""

    def finish(self) -> RunOutcome:
        """Return "completed": every training has ended.

        Raises:
            SearchError: every training diverged, or failed before its first epoch.
        """
        check_any_trained(self._state)
        return "completed"

    def _assign(self, tune_id: str, trial: Trial) -> dict[str, Any]:
        self.recorder.identify(tune_id, trial.trial_id)
        return assignment_of(trial, self._state).to_config(trial.params)
