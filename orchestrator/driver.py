"""What sits between the study and Ray Tune in a running search, put together: candidates, searcher, recorder.

The same for a search on Ray and for a simulated one.
"""

from __future__ import annotations

from ray.tune.schedulers import TrialScheduler

from orchestrator.candidates import Candidates
from orchestrator.event_log import EventLog
from orchestrator.live_study import LiveStudy
from orchestrator.optuna_searcher import OptunaSearcher
from orchestrator.recorder import Recorder
from orchestrator.run_directory import RunDirectory
from orchestrator.run_state import RunState
from orchestrator.schedulers.protocol import AnswersDuplicates, Replayable
from orchestrator.stopping import SearchStopper
from trainables import TrialPlan


class Driver:
    """The searcher and the callback to give to Ray Tune; `log` tells every listener it takes.

    `state` must be a listener of `log` already, for the others read from it.
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
    ) -> None:
        stopper = stopper or SearchStopper(hours=None)
        self.candidates = Candidates(log, state, plan, scheduler if isinstance(scheduler, AnswersDuplicates) else None)
        log.listen(live_study.apply)
        log.listen(self.candidates.apply)
        self.recorder = Recorder(log, state, plan, directory, stopper.fail)
        self._scheduler = scheduler
        self.searcher = OptunaSearcher(live_study, self.candidates, on_assigned=self._assign, is_over=stopper.stop_all)

    def _assign(self, tune_id: str, trial_id: str) -> None:
        """Ray Tune's id of a trial is ours."""
        self.recorder.assign(tune_id, trial_id)
        if isinstance(self._scheduler, Replayable):
            self._scheduler.identify(tune_id, trial_id)
