"""Between the sampler and the workers: every proposal is recorded, and answered at once where its answer is known.

A proposal that breaks a constraint, or of which no network can be made, is answered without training. One that is on
record already is answered by that record; if the same is still being trained, it waits for that result. Knows the
record and the space; knows neither Optuna nor Ray.
"""

from __future__ import annotations

from collections import deque

from orchestrator.event_log import EventLog
from orchestrator.events import Event, TrialEnded, TrialSuggested
from orchestrator.live_study import Suggestion
from orchestrator.run_state import RunState, Trial
from orchestrator.schedulers.protocol import AnswersDuplicates
from trainables import TrialPlan

ANSWERS = ("completed", "pruned", "diverged")
"""What a duplicate can be answered by. A failed trial says nothing of the candidate: it is tried again."""


class Candidates:
    """The proposals of a run. A listener of its event log, after `state`.

    Args:
        log, state: the record, and what it adds up to.
        plan: what all trials have in common.
        scheduler: asked whether a candidate that it stopped would now go on; None: it cannot say, and it would not.
    """

    def __init__(self, log: EventLog, state: RunState, plan: TrialPlan, scheduler: AnswersDuplicates | None) -> None:
        self._log = log
        self._state = state
        self._plan = plan
        self._scheduler = scheduler
        self._by_fingerprint = {trial.fingerprint: trial for trial in state.imported.values()}
        self._waiting: dict[str, list[str]] = {}
        self._released: deque[Trial] = deque()
        self._replaced: dict[str, Trial] = {}
        self.known_in_a_row = 0
        """Proposals since the last new one that were answered at once."""
        self.waiting_in_a_row = 0
        """Proposals since the last new one, and the last end of a trial, that wait for a trial to end."""

    def admit(self, suggestion: Suggestion) -> Trial | None:
        """Record the proposal; the trial if it is to be trained, None if it is answered otherwise."""
        trial, problem = self._record(suggestion)
        broken = [name for name, excess in self._state.violations(trial).items() if excess > 0]
        known = self._by_fingerprint.get(trial.fingerprint)
        if problem is not None:
            self._answer_at_once(TrialEnded(trial_id=trial.trial_id, status="failed", error=problem))
        elif broken:
            reason = "; ".join(
                f"{name} is {trial.costs[name]:,.0f}, above the constraint {self._state.constraints[name]:,.0f}"
                for name in broken
            )
            self._answer_at_once(TrialEnded(trial_id=trial.trial_id, status="infeasible", error=reason))
        elif known is not None and known.status == "running":
            self.waiting_in_a_row += 1
            self._waiting.setdefault(known.trial_id, []).append(trial.trial_id)
        elif known is not None and not self._goes_on(known):
            self._answer_at_once(_duplicate(trial.trial_id, known))
        else:
            self.known_in_a_row = self.waiting_in_a_row = 0
            if known is not None:
                self._replaced[trial.trial_id] = known
            self._by_fingerprint[trial.fingerprint] = trial
            return trial
        return None

    def released(self) -> Trial | None:
        """A proposal that waited for a trial which then failed: it is to be trained itself."""
        return self._released.popleft() if self._released else None

    def give_up(self) -> None:
        """The search ended by itself: what was to be trained in another one's place no longer will be."""
        while self._released:
            error = "it waited for the same candidate, which failed when the search was at its end"
            self._log.append(TrialEnded(trial_id=self._released.popleft().trial_id, status="failed", error=error))

    def apply(self, event: Event) -> None:
        """Called by the event log: whatever waited for a trial that ended is answered."""
        if not isinstance(event, TrialEnded) or event.duplicate_of is not None:
            return
        self.waiting_in_a_row = 0
        trial = self._state.trials[event.trial_id]
        replaced = self._replaced.pop(event.trial_id, None)
        waiting = self._waiting.pop(event.trial_id, [])
        if trial.status in ANSWERS:
            for trial_id in waiting:
                self._log.append(_duplicate(trial_id, trial))
            return
        if self._by_fingerprint.get(trial.fingerprint) is trial:
            del self._by_fingerprint[trial.fingerprint]
            if replaced is not None:
                self._by_fingerprint[trial.fingerprint] = replaced
        if waiting:
            first, *others = waiting
            self._by_fingerprint[trial.fingerprint] = self._state.trials[first]
            self._released.append(self._state.trials[first])
            self._waiting[first] = others

    def _record(self, suggestion: Suggestion) -> tuple[Trial, str | None]:
        """The proposal as a trial, and why no network can be made of it, if so."""
        trial_id = f"{len(self._state.trials):05d}"
        architecture = self._plan.space.decode(suggestion.params)
        costs, problem = {}, None
        try:
            costs = self._plan.costs(architecture)
        except ValueError as error:
            problem = str(error)
        self._log.append(
            TrialSuggested(
                trial_id=trial_id,
                number=suggestion.number,
                params=suggestion.params,
                architecture=architecture.to_json(),
                fingerprint=architecture.fingerprint,
                costs=costs,
                trial_attributes=suggestion.trial_attributes,
                study_attributes=suggestion.study_attributes,
                ask_seconds=suggestion.seconds,
            )
        )
        return self._state.trials[trial_id], problem

    def _goes_on(self, known: Trial) -> bool:
        """Whether it was stopped at a rung that it would now pass. It is then trained again from its beginning: under
        the run's one training seed that gives the same curve, and no checkpoint of every pruned trial need be kept."""
        if known.status != "pruned" or self._scheduler is None:
            return False
        return self._scheduler.would_continue(known.epochs, known.rows()[-1])

    def _answer_at_once(self, end: TrialEnded) -> None:
        self.known_in_a_row += 1
        self._log.append(end)


def _duplicate(trial_id: str, known: Trial) -> TrialEnded:
    return TrialEnded(trial_id=trial_id, status="duplicate", duplicate_of=known.trial_id)
