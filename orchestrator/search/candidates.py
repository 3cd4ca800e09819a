"""Records every proposal of the sampler, and decides whether it is trained or answered without training.

A proposal that breaks a constraint, or from which no network can be built, ends at once. A proposal whose result is on
record gets that result; if the same candidate is still being trained, it waits for its result. Knows the record and the
space; knows neither Optuna nor Ray.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from orchestrator.record import (
    UNBUILDABLE_IN_A_ROW,
    Event,
    EventLog,
    RunState,
    Trial,
    TrialEnded,
    TrialSetBack,
    TrialSuggested,
    infeasibility,
    trial_id_of,
)
from orchestrator.schedulers import AnswersDuplicates
from orchestrator.study import Suggestion
from search_spaces import Architecture
from trainables import TrialPlan

RESULT_STATUSES = ("completed", "pruned", "diverged")
"""Statuses whose result answers a duplicate. A failed trial says nothing about its candidate, which is tried again."""

MAX_KNOWN_IN_A_ROW = 1000
"""The sampler counts as exhausted after this many proposals in a row of known candidates, of running ones, or of
candidates that break a constraint and come no closer to it than those before."""

MAX_FAR_IN_A_ROW = 300
"""The same, if no candidate has met the constraints yet and the closest is still at a distance of more than `FAR`."""

FAR = 1.0
"""A distance from meeting the constraints (`RunState.distance`): that of a candidate with twice the bound."""

INFEASIBLE_TO_TELL = 100
"""After this many proposals that break a constraint, with none in between to train, the user is told how close they
came."""


class Candidates:
    """The proposals of a run. A listener of its event log, to be registered after `state`, which it reads.

    Args:
        log, state: the record and the state that it adds up to.
        plan: what all trials have in common.
        scheduler: says whether a candidate that it stopped would continue now; None if no stopped candidate would.
        budget: how many trials may be trained; None for no limit.
        say: shows the user one line.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        state: RunState,
        plan: TrialPlan,
        scheduler: AnswersDuplicates | None,
        budget: int | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._say = say
        self._log = log
        self._state = state
        self._plan = plan
        self._scheduler = scheduler
        self._budget = budget
        self._admitted = 0
        """Trials that count against the budget: they train, or were trained."""
        self._by_fingerprint = {trial.fingerprint: trial for trial in state.imported.values()}
        """The trial whose result answers a proposal of the same candidate."""
        self._waiting: dict[str, list[str]] = {}
        """Trials that wait for the result of the same candidate, by the trial that trains it."""
        self._to_continue: deque[Trial] = deque()
        """Trials that lost their worker, or were open at a resume."""
        self._released: deque[Trial] = deque()
        """Recorded proposals that must be trained and were never started."""
        self._left_over: set[str] = set()
        """Those of `_released` that an earlier process had left."""
        self._replaced: dict[str, Trial] = {}
        """The trial with a result whose candidate is trained again, by the new trial."""
        self._told = False
        self.known_in_a_row = 0
        """Proposals since the last new one that were answered at once, or break a constraint and come no closer."""
        self.unbuildable_in_a_row = 0
        """Proposals since the last new one from which no network can be built."""
        self._infeasible = 0
        """Proposals since the last new one that break a constraint."""
        self._distance = math.inf
        """The smallest distance of these from meeting the constraints."""
        self.waiting_in_a_row = 0
        """Proposals since the last new one, and since the last end of a trial, that wait for a trial to end."""

    def requeue(self) -> None:
        """Queue the open trials of the record. Call it after all listeners of the log are in place.

        Trials that were started and have not ended continue. Proposals that were not started are decided again.
        """
        proposed = []
        for trial in self._state.trials.values():
            if not trial.was_started:
                if trial.status == "running":
                    proposed.append(trial)
                continue
            self._admitted += 1
            if trial.status == "running":
                self._register(trial)
                self._to_continue.append(trial)
            elif trial.status in RESULT_STATUSES:
                self._by_fingerprint[trial.fingerprint] = trial
        # After the started trials are registered, because a proposal may wait for one of them.
        for trial in proposed:
            _, problem = self._costs_of(Architecture.from_json(trial.architecture))
            if self._needs_training(trial, problem):
                self._released.append(trial)
                self._left_over.add(trial.trial_id)

    @property
    def is_full(self) -> bool:
        """Whether the budget is spent, so that no further trial starts."""
        return self._budget is not None and self._admitted >= self._budget

    @property
    def is_booked(self) -> bool:
        """Whether those that train or wait for a worker use up the budget."""
        return self._budget is not None and self._admitted + len(self._released) >= self._budget

    @property
    def has_next(self) -> bool:
        """Whether `next` returns a trial."""
        return bool(self._to_continue) or (bool(self._released) and not self.is_full)

    @property
    def is_exhausted(self) -> bool:
        """Whether the sampler seems to have nothing new to propose, or nothing from which a network can be built."""
        knows_any = self._admitted > 0 or bool(self._by_fingerprint)
        limit = MAX_FAR_IN_A_ROW if not knows_any and FAR < self._distance < math.inf else MAX_KNOWN_IN_A_ROW
        known = max(self.known_in_a_row, self.waiting_in_a_row)
        return known >= limit or self.unbuildable_in_a_row >= UNBUILDABLE_IN_A_ROW

    def next(self) -> Trial | None:
        """Return a recorded trial to train next; None if there is none.

        Trials that lost their worker, or were open at a resume, come first. Then come recorded proposals that were not
        started: those that waited for a trial of the same candidate, which then failed; those of a loop of the user's
        own; and those left over from before a resume.
        """
        if not self.has_next:
            return None
        if self._to_continue:
            return self._to_continue.popleft()
        self._admitted += 1
        return self._released.popleft()

    def admit(self, suggestion: Suggestion) -> Trial | None:
        """Record the proposal; return its trial if it must be trained, else None."""
        trial, problem = self._record(suggestion)
        if not self._needs_training(trial, problem):
            return None
        self._admitted += 1
        return trial

    def enlist(self, suggestion: Suggestion) -> None:
        """Record the proposal; if it must be trained, `next` returns its trial."""
        trial, problem = self._record(suggestion)
        if self._needs_training(trial, problem):
            self._released.append(trial)

    def give_up(self) -> None:
        """Record a failure for each trial that `next` would still return. Call it when the search is over.

        Proposals that an earlier process had left stay open, for a resume with a larger budget.
        """
        error = "it waited for a trial of the same candidate, which failed at the end of the search"
        while self._released:
            trial_id = self._released.popleft().trial_id
            if trial_id not in self._left_over:
                self._log.append(TrialEnded(trial_id=trial_id, status="failed", error=error))

    def apply(self, event: Event) -> None:
        """Continue a trial that was set back; answer the trials that waited for one that ended.

        The event log calls it with each event.
        """
        if isinstance(event, TrialSetBack):
            self._to_continue.append(self._state.trials[event.trial_id])
        if not isinstance(event, TrialEnded) or event.duplicate_of is not None:
            return
        self.waiting_in_a_row = 0
        trial = self._state.trials[event.trial_id]
        replaced = self._replaced.pop(event.trial_id, None)
        waiting = self._waiting.pop(event.trial_id, [])
        if trial.status in RESULT_STATUSES:
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
        """Record the proposal as a trial; return it, and why no network can be built from it (None if one can)."""
        trial_id = trial_id_of(len(self._state.trials))
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
        """Return its costs and None; or no costs and the reason, if no network can be built from it."""
        try:
            return self._plan.costs(architecture), None
        except ValueError as error:
            return {}, str(error)

    def _needs_training(self, trial: Trial, problem: str | None) -> bool:
        """Return whether the proposal must be trained; if not, end it now or let it wait for the same candidate."""
        broken = [name for name, excess in self._state.violations(trial).items() if excess > 0]
        known = self._by_fingerprint.get(trial.fingerprint)
        if problem is not None:
            self.unbuildable_in_a_row += 1
            self._log.append(TrialEnded(trial_id=trial.trial_id, status="failed", error=problem))
        elif broken:
            reason = "; ".join(
                f"{name} is {trial.costs[name]:,.0f}, above the constraint {self._state.constraints[name]:,.0f}"
                for name in broken
            )
            self._log.append(TrialEnded(trial_id=trial.trial_id, status="infeasible", error=reason))
            self._note_infeasible(trial)
        elif known is not None and known.status == "running":
            self.waiting_in_a_row += 1
            self._waiting.setdefault(known.trial_id, []).append(trial.trial_id)
        elif known is not None and not self._would_continue(known):
            self.known_in_a_row += 1
            self._log.append(_duplicate(trial.trial_id, known))
        else:
            self.known_in_a_row = self.waiting_in_a_row = self.unbuildable_in_a_row = self._infeasible = 0
            self._distance = math.inf
            self._register(trial)
            return True
        return False

    def _note_infeasible(self, trial: Trial) -> None:
        """Count the proposal, unless it is closer to the constraints than those before: then the sampler learns."""
        distance = self._state.distance(trial)
        if distance < self._distance:
            self._distance, self.known_in_a_row = distance, 0
        else:
            self.known_in_a_row += 1
        self._infeasible += 1
        if self._infeasible == INFEASIBLE_TO_TELL and not self._told:
            self._told = True
            self._say(f"no new candidate meets the constraints: {infeasibility(self._state)}")

    def _register(self, trial: Trial) -> None:
        """Make it the trial whose result answers further proposals of its fingerprint."""
        known = self._by_fingerprint.get(trial.fingerprint)
        if known is not None:
            self._replaced[trial.trial_id] = known
        self._by_fingerprint[trial.fingerprint] = trial

    def _would_continue(self, known: Trial) -> bool:
        """Whether the trial was stopped at a rung that it would pass now.

        Its candidate is then trained from scratch. The run has one training seed, so the curve is the same, and the
        checkpoints of pruned trials need not be kept.
        """
        if known.status != "pruned" or self._scheduler is None:
            return False
        return self._scheduler.would_continue(known.epochs, known.rows()[-1])


def _duplicate(trial_id: str, known: Trial) -> TrialEnded:
    return TrialEnded(trial_id=trial_id, status="duplicate", duplicate_of=known.trial_id)
