"""What sits between the study and Ray Tune in a running search, put together: candidates, searcher, recorder.

The same for a search on Ray and for a simulated one.
"""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import TrialScheduler

from orchestrator.candidates import Candidates
from orchestrator.event_log import EventLog
from orchestrator.events import RunOutcome
from orchestrator.live_study import LiveStudy
from orchestrator.optuna_searcher import OptunaSearcher
from orchestrator.recorder import Recorder
from orchestrator.run_directory import RunDirectory
from orchestrator.run_state import RunState, Trial
from orchestrator.schedulers.protocol import AnswersDuplicates, Replayable, TakesUp
from orchestrator.stopping import SearchStopper
from trainables import TrialPlan
from trainables.assignment import Assignment


class Driver:
    """The searcher and the callback to give to Ray Tune; `log` tells every listener it takes.

    `state` must be a listener of `log` already, for the others read from it. `budget` is how many trials may be
    trained, `gpus_per_trial` the share of each.
    """

    def __init__(
        self,
        log: EventLog,
        state: RunState,
        plan: TrialPlan,
        directory: RunDirectory,
        live_study: LiveStudy,
        scheduler: TrialScheduler,
        *,
        stopper: SearchStopper | None = None,
        budget: int | None = None,
        gpus_per_trial: float = 0.0,
    ) -> None:
        stopper = stopper or SearchStopper(hours=None)
        answers = scheduler if isinstance(scheduler, AnswersDuplicates) else None
        self.candidates = Candidates(log, state, plan, answers, budget)
        log.listen(live_study.apply)
        log.listen(self.candidates.apply)
        self.recorder = Recorder(log, state, plan, directory, stopper.fail, gpus_per_trial=gpus_per_trial)
        self._state = state
        self._scheduler = scheduler
        self.searcher = OptunaSearcher(
            live_study,
            self.candidates,
            assign=self._assign,
            is_over=stopper.stop_all,
            is_at_rest=self.recorder.is_at_rest,
        )

    def resume(self) -> None:
        """Bring the scheduler and the candidates to where the record stands."""
        if isinstance(self._scheduler, Replayable):
            for trial in self._state.trials.values():
                if trial.attempt > 0:
                    self._scheduler.replay(trial.trial_id, trial.rows())
        self.candidates.resume()
        self.recorder.check_best()

    def finish(self) -> RunOutcome:
        """There is nothing more to train: answer what still waits, and say why the search ended."""
        self.candidates.give_up()
        return "exhausted" if self.searcher.exhausted else "completed"

    def _assign(self, tune_id: str, trial: Trial) -> dict[str, Any]:
        """Ray Tune's id of a trial is ours; what its worker is to be told."""
        self.recorder.assign(tune_id, trial.trial_id)
        if isinstance(self._scheduler, Replayable):
            self._scheduler.identify(tune_id, trial.trial_id)
        if isinstance(self._scheduler, TakesUp) and trial.curve:
            self._scheduler.take_up(tune_id, trial.rows())
        return assignment_of(trial, self._state).to_config(trial.params)


def assignment_of(trial: Trial, state: RunState) -> Assignment:
    """What a worker is told of a trial of this record."""
    return Assignment(
        trial_id=trial.trial_id,
        epochs=trial.epochs,
        micro_batches=trial.micro_batches,
        gpus=trial.gpus,
        expected_seconds=state.longest_epoch_seconds,
        costs=trial.costs,
        resample=trial.resample,
    )
