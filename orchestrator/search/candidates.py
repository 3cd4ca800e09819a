"""Between the sampler and the workers: every proposal is recorded, and answered at once where its answer is known.

A proposal that breaks a constraint, or of which no network can be made, is answered without training. One that is on
record already is answered by that record; if the same is still being trained, it waits for that result. Knows the
record and the space; knows neither Optuna nor Ray.
"""

from __future__ import annotations

from collections import deque

from orchestrator.record import (
    INFEASIBLE_IN_A_ROW,
    Event,
    EventLog,
    RunState,
    Trial,
    TrialEnded,
    TrialSetBack,
    TrialSuggested,
)
from orchestrator.schedulers import AnswersDuplicates
from orchestrator.study import Suggestion
from search_spaces import Architecture
from trainables import TrialPlan

ANSWERS = ("completed", "pruned", "diverged")
"""What a duplicate can be answered by. A failed trial says nothing of the candidate: it is tried again."""

KNOWN_IN_A_ROW = 1000
"""After so many proposals in a row of what is known, or trained already, the sampler has nothing new."""


class Candidates:
    """The proposals of a run. A listener of its event log, after `state`.

    Args:
        log, state: the record, and what it adds up to.
        plan: what all trials have in common.
        scheduler: asked whether a candidate that it stopped would now go on; None: it cannot say, and it would not.
        budget: how many trials may be trained; None for as many as there is time for.
    """

    def __init__(
        self,
        log: EventLog,
        state: RunState,
        plan: TrialPlan,
        scheduler: AnswersDuplicates | None,
        budget: int | None = None,
    ) -> None:
        self._log = log
        self._state = state
        self._plan = plan
        self._scheduler = scheduler
        self._budget = budget
        self._admitted = 0
        self._by_fingerprint = {trial.fingerprint: trial for trial in state.imported.values()}
        self._waiting: dict[str, list[str]] = {}
        self._interrupted: deque[Trial] = deque()
        self._released: deque[Trial] = deque()
        self._replaced: dict[str, Trial] = {}
        self.known_in_a_row = 0
        """Proposals since the last new one that were answered at once, but for the infeasible."""
        self.infeasible_in_a_row = 0
        """Proposals since the last new one that break a constraint."""
        self.waiting_in_a_row = 0
        """Proposals since the last new one, and the last end of a trial, that wait for a trial to end."""

    def resume(self) -> None:
        """Take up the trials of the record, once the listeners of the log are in place: those that were begun and did
        not end are to go on; those that were only proposed are looked at again."""
        proposed = []
        for trial in self._state.trials.values():
            if trial.attempt == 0:
                proposed += [trial] if trial.status == "running" else []
                continue
            self._admitted += 1
            if trial.status == "running":
                self._enter(trial)
                self._interrupted.append(trial)
            elif trial.status in ANSWERS:
                self._by_fingerprint[trial.fingerprint] = trial
        self._released.extend(
            trial
            for trial in proposed
            if self._is_new(trial, self._costs_of(Architecture.from_json(trial.architecture))[1])
        )

    @property
    def is_full(self) -> bool:
        """Whether the budget is spent: no further trial is begun."""
        return self._budget is not None and self._admitted >= self._budget

    @property
    def has_next(self) -> bool:
        """Whether `next` has one."""
        return bool(self._interrupted) or (bool(self._released) and not self.is_full)

    @property
    def has_nothing_new(self) -> bool:
        """Whether the sampler has proposed nothing new for very long."""
        most = max(self.known_in_a_row, self.waiting_in_a_row)
        return most >= KNOWN_IN_A_ROW or self.infeasible_in_a_row >= INFEASIBLE_IN_A_ROW

    def next(self) -> Trial | None:
        """One that lost its worker and is to go on; else one that waited for a trial which then failed, and is to be
        trained itself."""
        if not self.has_next:
            return None
        if self._interrupted:
            return self._interrupted.popleft()
        self._admitted += 1
        return self._released.popleft()

    def admit(self, suggestion: Suggestion) -> Trial | None:
        """Record the proposal; the trial if it is to be trained, None if it is answered otherwise."""
        trial, problem = self._record(suggestion)
        if not self._is_new(trial, problem):
            return None
        self._admitted += 1
        return trial

    def give_up(self) -> None:
        """The search ended by itself: what was to be trained in another one's place no longer will be."""
        while self._released:
            error = "it waited for the same candidate, which failed when the search was at its end"
            self._log.append(TrialEnded(trial_id=self._released.popleft().trial_id, status="failed", error=error))

    def apply(self, event: Event) -> None:
        """Called by the event log: one that was set back goes on; whatever waited for one that ended is answered."""
        if isinstance(event, TrialSetBack):
            self._interrupted.append(self._state.trials[event.trial_id])
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
        costs, problem = self._costs_of(architecture)
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

    def _costs_of(self, architecture: Architecture) -> tuple[dict[str, float], str | None]:
        """What it costs; nothing, and why, if no network can be made of it."""
        try:
            return self._plan.costs(architecture), None
        except ValueError as error:
            return {}, str(error)

    def _is_new(self, trial: Trial, problem: str | None) -> bool:
        """Whether the proposal is to be trained; if not, it is answered now, or waits for the same to end."""
        broken = [name for name, excess in self._state.violations(trial).items() if excess > 0]
        known = self._by_fingerprint.get(trial.fingerprint)
        if problem is not None:
            self._answer_at_once(TrialEnded(trial_id=trial.trial_id, status="failed", error=problem))
        elif broken:
            reason = "; ".join(
                f"{name} is {trial.costs[name]:,.0f}, above the constraint {self._state.constraints[name]:,.0f}"
                for name in broken
            )
            self.infeasible_in_a_row += 1
            self._log.append(TrialEnded(trial_id=trial.trial_id, status="infeasible", error=reason))
        elif known is not None and known.status == "running":
            self.waiting_in_a_row += 1
            self._waiting.setdefault(known.trial_id, []).append(trial.trial_id)
        elif known is not None and not self._goes_on(known):
            self._answer_at_once(_duplicate(trial.trial_id, known))
        else:
            self.known_in_a_row = self.waiting_in_a_row = self.infeasible_in_a_row = 0
            self._enter(trial)
            return True
        return False

    def _enter(self, trial: Trial) -> None:
        """From now on it is the one that answers for its fingerprint."""
        known = self._by_fingerprint.get(trial.fingerprint)
        if known is not None:
            self._replaced[trial.trial_id] = known
        self._by_fingerprint[trial.fingerprint] = trial

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
