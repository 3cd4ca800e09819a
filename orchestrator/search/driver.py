"""Connects the study to Ray Tune in a running search: candidates, searcher and recorder.

Does not know Ray's cluster and its workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ray.tune.schedulers import TrialScheduler

from orchestrator.cluster import SearchStopper
from orchestrator.errors import SearchError
from orchestrator.record import EventLog, RunDirectory, RunOutcome, RunState, Trial
from orchestrator.schedulers import AnswersDuplicates, Replayable
from orchestrator.search.candidates import Candidates
from orchestrator.search.recorder import Recorder
from orchestrator.search.searcher import OptunaSearcher
from orchestrator.search.submissions import Submissions, SubmissionSearcher
from orchestrator.study import LiveStudy
from orchestrator.words import counted
from trainables import TrialPlan
from trainables.assignment import Assignment


class Driver:
    """The searcher and the callback for Ray Tune, and the listeners for the log. As a context, it runs the source.

    Args:
        log, state: the record and the state that it adds up to; `state` must be the first listener of `log`.
        plan: what all trials have in common.
        directory: of the run.
        source: of suggestions.
        scheduler: of the search.
        stopper: says when the search must end before its trials do.
        budget: how many trials may be trained; None for no limit.
        gpus_per_trial: the share of a GPU that each trial has.
        say: shows the user one line.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        state: RunState,
        plan: TrialPlan,
        directory: RunDirectory,
        source: LiveStudy | Submissions,
        scheduler: TrialScheduler,
        stopper: SearchStopper | None = None,
        budget: int | None = None,
        gpus_per_trial: float = 0.0,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        stopper = stopper or SearchStopper(hours=None)
        answers = scheduler if isinstance(scheduler, AnswersDuplicates) else None
        self.candidates = Candidates(log, state=state, plan=plan, scheduler=answers, budget=budget, say=say)
        self.listeners = [source.apply, self.candidates.apply]
        """For the log, in this order: `candidates.apply` appends events, and the source must get its event first."""
        self._source = source
        self.recorder = Recorder(
            log, state=state, plan=plan, directory=directory, on_failure=stopper.fail, gpus_per_trial=gpus_per_trial
        )
        self._state = state
        self._scheduler = scheduler
        self.searcher = (
            SubmissionSearcher(
                source,
                self.candidates,
                assign=self._assign,
                is_over=stopper.stop_all,
                is_idle=self.recorder.is_idle,
            )
            if isinstance(source, Submissions)
            else OptunaSearcher(
                source,
                self.candidates,
                assign=self._assign,
                is_over=stopper.stop_all,
                is_idle=self.recorder.is_idle,
                record_pauses=self.recorder.record_pauses,
            )
        )

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.__exit__(kind, error, trace)

    def resume(self) -> None:
        """Continue the trials on record that have not ended, before any new ones.

        Ray Tune starts with no trials. A scheduler of ours (`Replayable`) first receives the curves of all trials on
        record, so that its rungs are what they were: a trial has passed each rung after which its curve goes on. Others
        start anew. The searcher gives an open trial to Ray Tune again under a new id, before the study is asked; in the
        record it keeps its name. If its last epoch is that of a rung, the scheduler decides as soon as Ray Tune has it
        (`on_trial_add`): `asha` lets it go on, because its end would be on record otherwise, in one append with that
        epoch; `asha_promotion` pauses it, without a worker, until it is promoted (`Recorder.record_pauses`). Its worker
        loads the newest checkpoint of the same architecture (`EpochTrainable._restore`): it reports epochs of the
        checkpoint that the record lacks, and trains again those after it, which the recorder drops if the record has
        them. Proposals that were never started are decided again (`Candidates.requeue`). New trials are named after
        those on record. Writes the best network if the process was killed before it could.
        """
        if isinstance(self._scheduler, Replayable):
            for trial in self._state.trials.values():
                if trial.was_started:
                    self._scheduler.replay(trial.trial_id, trial.rows())
        self.candidates.requeue()
        self.recorder.save_missing_best()

    def finish(self) -> RunOutcome:
        """End the trials that still wait, and return why the search ended.

        Raises:
            SearchError: trials failed or diverged, and no other trial has an epoch.
        """
        self.candidates.give_up()
        check_any_trained(self._state)
        self.recorder.save_missing_best()
        return "exhausted" if self.searcher.exhausted else "completed"

    def _assign(self, tune_id: str, trial: Trial) -> dict[str, Any]:
        """Note Ray Tune's id of the trial, and return the configuration of its worker.

        It has the parameters of the trial, not its architecture: the worker decodes them again (`EpochTrainable`).
        """
        self.recorder.identify(tune_id, trial.trial_id)
        if isinstance(self._scheduler, Replayable):
            self._scheduler.identify(tune_id, trial.trial_id)
        return assignment_of(trial, self._state).to_config(trial.params)


def check_any_trained(state: RunState) -> None:
    """Refuse to call a run complete in which nothing could be trained.

    Raises:
        SearchError: trials failed or diverged, and no other has an epoch; the message has the reason of the first.
    """
    bad = [trial for trial in state.trials.values() if trial.status in ("failed", "diverged")]
    if bad and not any(trial.curve for trial in state.trials.values() if trial.status != "diverged"):
        counts = Counter(trial.status for trial in bad)
        kinds = ", ".join(f"{counted(count, 'trial')} {status}" for status, count in counts.items())
        raise SearchError(f"nothing could be trained: {kinds}; the first: {bad[0].error}")


def assignment_of(trial: Trial, state: RunState) -> Assignment:
    """Return what a worker must know about a recorded trial."""
    return Assignment(
        trial_id=trial.trial_id,
        epochs_on_record=trial.epochs,
        micro_batches=trial.micro_batches,
        gpus=trial.gpus,
        expected_seconds=state.longest_epoch_seconds,
        costs=trial.costs,
        resample=trial.resample,
    )
