"""What sits between the study and Ray Tune in a running search, put together: candidates, searcher, recorder.

The same for a search on Ray and for a simulated one.
"""

from __future__ import annotations

from collections.abc import Callable

from ray.tune.schedulers import TrialScheduler

from orchestrator.candidates import Candidates
from orchestrator.event_log import EventLog
from orchestrator.live_study import LiveStudy
from orchestrator.optuna_searcher import OptunaSearcher
from orchestrator.recorder import Recorder
from orchestrator.run_directory import RunDirectory
from orchestrator.run_state import RunState
from orchestrator.schedulers.protocol import AnswersDuplicates, Replayable
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
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        candidates = Candidates(log, state, plan, scheduler if isinstance(scheduler, AnswersDuplicates) else None)
        log.listen(live_study.apply)
        log.listen(candidates.apply)
        self.recorder = Recorder(log, state, plan, directory)
        self._scheduler = scheduler
        self.searcher = OptunaSearcher(live_study, candidates, on_assigned=self._assign, is_over=is_over)

    def _assign(self, tune_id: str, trial_id: str) -> None:
        """Ray Tune's id of a trial is ours."""
        self.recorder.assign(tune_id, trial_id)
        if isinstance(self._scheduler, Replayable):
            self._scheduler.identify(tune_id, trial_id)
