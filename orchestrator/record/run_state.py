"""The state of a run, folded from its events: trials, their curves and their ranking. Does not know files.

The same state results while a search runs and when its log is read afterwards.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any, Literal

from orchestrator.objectives import Direction, dominates, losses_of, violations
from orchestrator.record.events import (
    CandidatesCompared,
    CandidatesQueued,
    ConfirmationPlanned,
    EpochDone,
    EvaluationPlanned,
    Event,
    RunEnded,
    RunOutcome,
    RunResumed,
    RunStarted,
    TrialBuilt,
    TrialEnded,
    TrialImported,
    TrialPaused,
    TrialRepeated,
    TrialSetBack,
    TrialStarted,
    TrialSuggested,
)
from orchestrator.record.trial import Trial, imported_trial, planned_trials, repeated_trial, suggested_trial

UNRANKED = ("duplicate", "diverged", "infeasible")


@dataclass
class RunState:
    """All trials of a run by id, in the order in which they were suggested."""

    trials: dict[str, Trial] = field(default_factory=dict)
    imported: dict[str, Trial] = field(default_factory=dict)
    """Trials of other runs that this one knows (`[warm_start]`), by the id `RUN/TRIAL`."""
    repeats: dict[str, Trial] = field(default_factory=dict)
    """The trials of the confirmation by id; each trains a candidate of `trials` again."""
    confirmation: ConfirmationPlanned | None = None
    """The plan of the last confirmation; None before the first."""
    compared: CandidatesCompared | None = None
    """What the repeats said last; see `confirmed`."""
    objectives: dict[str, Direction] = field(default_factory=dict)
    constraints: dict[str, float] = field(default_factory=dict)
    distributions: dict[str, dict[str, Any]] = field(default_factory=dict)
    study_attributes: dict[str, Any] = field(default_factory=dict)
    """What the sampler stored with the whole study."""
    queued: list[dict[str, Any]] = field(default_factory=list)
    """Parameters of the candidates that are proposed next, in this order (`[sampler] start_with`)."""
    evaluation: EvaluationPlanned | None = None
    """The plan of an evaluation; None in the record of a search."""
    slots: int = 0
    started_at: datetime | None = None
    away_seconds: float = 0.0
    """Seconds between an end or a crash of the search and its resume."""
    longest_epoch_seconds: float | None = None
    trained_epochs: int = 0
    session_started_at: datetime | None = None
    """Start of the first trial since the search began or was last resumed; None before."""
    session_seconds: float = 0.0
    """Seconds of the epochs trained since then."""
    ended_at: datetime | None = None
    outcome: RunOutcome | Literal["died"] | None = None
    """How the run ended. `died` is never written: a reader concludes it if the run's process is gone."""
    reason: str | None = None
    """Why the run failed or was exhausted; None if it did not, or has not ended."""
    best: Trial | None = None
    """The completed trial that is best in the first objective, or in the next if several are equal, and so on; the
    earliest if several are equal in all. None in an evaluation, because a single training says little."""
    front: list[Trial] = field(default_factory=list)
    """The Pareto front: the completed trials that no other dominates. With one objective, the best and its equals."""
    _places: int = 0
    _front_losses: set[tuple[float, ...]] = field(default_factory=set)
    _last_event_at: datetime | None = None
    _resumed_at: datetime | None = None

    @classmethod
    def replay(cls, events: Iterable[Event]) -> RunState:
        state = cls()
        for event in events:
            state.apply(event)
        return state

    def apply(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.slots, self.started_at = event.slots, event.time
                self.objectives, self.constraints = event.objectives, event.constraints
                self.distributions = event.distributions
            case RunResumed():
                self._resume(event)
            case TrialImported():
                trial = self.imported[event.trial_id] = imported_trial(event, number=len(self.imported))
                trial.end_place = self._next_place()
            case EvaluationPlanned():
                self.evaluation = event
                self.trials.clear()  # those of an earlier plan, of which nothing was trained
                self.trials.update((trial.trial_id, trial) for trial in planned_trials(event))
            case CandidatesQueued():
                self.queued = list(event.params)
            case TrialSuggested():
                del self.queued[:1]
                self.trials[event.trial_id] = suggested_trial(event)
                self.study_attributes |= event.study_attributes
            case ConfirmationPlanned():
                self.confirmation = event
            case TrialRepeated():
                self.repeats[event.trial_id] = repeated_trial(event, self.trials[event.repeats])
            case CandidatesCompared():
                self.compared = event
            case TrialStarted():
                trial = self.find(event.trial_id)
                trial.attempt, trial.paused, trial.on_worker = event.attempt, False, True
                trial.started_at = trial.started_at or event.time
                self.session_started_at = self.session_started_at or event.time
            case TrialBuilt():
                trial = self.find(event.trial_id)
                trial.latency_seconds = event.latency_seconds
                trial.node, trial.device = event.node, event.device
            case EpochDone():
                trial = self.find(event.trial_id)
                trial.curve.append(event)
                trial.setbacks_in_a_row.clear()
                self.longest_epoch_seconds = max(self.longest_epoch_seconds or 0.0, event.seconds)
                self.trained_epochs += 1
                self.session_seconds += event.seconds
            case TrialPaused():
                trial = self.find(event.trial_id)
                trial.paused, trial.on_worker = True, False
                trial.pause_place = self._next_place()
            case TrialSetBack():
                trial = self.find(event.trial_id)
                trial.set_back.append(event)
                trial.on_worker = False
                trial.setbacks_in_a_row[event.cause] += 1
                trial.micro_batches, trial.gpus = event.micro_batches, event.gpus
            case TrialEnded():
                self._end(self.find(event.trial_id), event)
            case RunEnded():
                self.outcome, self.reason, self.ended_at = event.outcome, event.reason, event.time
        self._last_event_at = max(event.time, self._last_event_at or event.time)

    def _resume(self, event: RunResumed) -> None:
        """Take all trials off their workers. A paused one stays paused, and does not begin another attempt."""
        if self._last_event_at is not None:
            self.away_seconds += max(0.0, (event.time - self._last_event_at).total_seconds())
        self.slots, self.outcome, self.reason, self.ended_at = event.slots, None, None, None
        self.session_started_at, self.session_seconds = None, 0.0
        self._resumed_at = event.time
        for trial in self.all_trials():
            trial.on_worker = False

    def active_seconds(self, until: datetime | None = None) -> float:
        """Seconds from the start to the last event (or `until`), without the times between an end and a resume."""
        until = until or self._last_event_at
        if self.started_at is None or until is None:
            return 0.0
        return max(0.0, (until - self.started_at).total_seconds() - self.away_seconds)

    def _next_place(self) -> int:
        """How many trials have ended or paused so far; this one is counted."""
        self._places += 1
        return self._places - 1

    def _end(self, trial: Trial, event: TrialEnded) -> None:
        trial.end_place = self._next_place()
        trial.status, trial.error, trial.ended_at = event.status, event.error, event.time
        trial.paused, trial.on_worker, trial.duplicate_of = False, False, event.duplicate_of
        if event.duplicate_of is not None:
            original = self.find(event.duplicate_of)
            trial.curve, trial.latency_seconds = original.curve, original.latency_seconds
        if trial.status == "completed" and trial.resample is None:
            if self.best is None or self.losses(trial) < self.losses(self.best):
                self.best = trial
            self._add_to_front(trial)

    def _add_to_front(self, trial: Trial) -> None:
        # Values are compared instead of trials, because very many trials may have the same values.
        losses = self.losses(trial)
        if any(dominates(other, losses) for other in self._front_losses):
            return
        beaten = {other for other in self._front_losses if dominates(losses, other)}
        if beaten:
            self._front_losses -= beaten
            self.front = [member for member in self.front if self.losses(member) not in beaten]
        self._front_losses.add(losses)
        self.front.append(trial)

    def losses(self, trial: Trial) -> tuple[float, ...]:
        """A completed trial's value in each objective; lower is better."""
        losses = losses_of(trial.metric, self.objectives)
        assert losses is not None, "a completed trial has a value in every objective"
        return losses

    def violations(self, trial: Trial) -> dict[str, float]:
        """The excess of the trial over each constraint's bound; 0 or less if it keeps the bound."""
        return violations(trial.costs, self.constraints) if trial.costs else {}

    def distance(self, trial: Trial) -> float:
        """How far the trial is from meeting all constraints: the sum of its excesses in units of their bounds."""
        return sum(
            excess / max(abs(self.constraints[name]), 1.0)
            for name, excess in self.violations(trial).items()
            if excess > 0
        )

    def find(self, trial_id: str) -> Trial:
        """Return a trial of this run, one of its confirmation, or an imported one, by its id."""
        return self.trials.get(trial_id) or self.repeats.get(trial_id) or self.imported[trial_id]

    def all_trials(self) -> Iterator[Trial]:
        """The trials of the search and of its confirmation."""
        return itertools.chain(self.trials.values(), self.repeats.values())

    def repeats_of(self, trial: Trial) -> list[Trial]:
        """The trials of the confirmation that trained the candidate of this trial again."""
        return [repeat for repeat in self.repeats.values() if repeat.repeats == trial.trial_id]

    def planned_repeats(self) -> list[Trial]:
        """The new trainings of the candidates of the last confirmation's plan."""
        names = set() if self.confirmation is None else set(self.confirmation.candidates)
        return [repeat for repeat in self.repeats.values() if repeat.repeats in names]

    @property
    def confirmed(self) -> CandidatesCompared | None:
        """What the confirmation says; None if it says nothing, or the search has gone on since."""
        return self.compared if self.compared is not None and self.compared.trained == self.trained else None

    @property
    def winner(self) -> Trial | None:
        """The confirmed winner; without one, the best trial. None if none has completed."""
        return self.best if self.confirmed is None else self.trials[self.confirmed.winner.trial_id]

    @property
    def winning_front(self) -> list[Trial]:
        """The confirmed Pareto front; the search's front if there is only one objective or no confirmation."""
        if self.confirmed is None or len(self.objectives) == 1:
            return self.front
        return [self.trials[one.trial_id] for one in self.confirmed.candidates if one.on_front]

    def original(self, trial: Trial) -> Trial:
        """Return the trial that answered this one if it is a duplicate, else the trial itself."""
        return trial if trial.duplicate_of is None else self.find(trial.duplicate_of)

    @property
    def trained(self) -> int:
        """Number of trials that were trained, including pruned ones."""
        return sum(trial.attempt > 0 for trial in self.trials.values())

    def counts(self) -> Counter[str]:
        """Number of trials with each status that `status_of` returns."""
        return Counter(self.status_of(trial) for trial in self.trials.values())

    def status_of(self, trial: Trial) -> str:
        """The trial's status, in more detail if it has not ended.

        `waiting` if it has no worker yet, `paused` if the scheduler took it off its worker, `running` if it is on a
        worker, and `unfinished` once the run has ended.
        """
        if trial.status != "running":
            return trial.status
        if self.outcome is not None:
            return "unfinished"
        if trial.paused:
            return "paused"
        return "running" if trial.on_worker else "waiting"

    def ranking(self) -> list[Trial]:
        """Trials with a score, best first by the first objective.

        The confirmed candidates come first, in the order of the confirmation; then the completed trials; then the
        others, which had less training. Duplicates, infeasible and diverged trials are left out.
        """
        confirmed = [] if self.confirmed is None else [one.trial_id for one in self.confirmed.candidates if one.scores]
        places = {trial_id: place for place, trial_id in enumerate(confirmed)}
        first = dict(list(self.objectives.items())[:1])
        ranked = []
        for trial in self.trials.values():
            losses = losses_of(trial.metric, first)
            if trial.curve and trial.status not in UNRANKED and losses is not None:
                # Of equal trials the first to end leads, so that `best` is the first.
                place = places.get(trial.trial_id, len(places))
                ranked.append(((place, trial.status != "completed", losses, trial is not self.best), trial))
        return [trial for _, trial in sorted(ranked, key=lambda entry: entry[0])]

    def to_evaluate(self, limit: int | None) -> list[Trial]:
        """The candidates that an evaluation compares, best first, at most `limit` of them (None for no limit).

        With one objective they come from `ranking`, in which pruned candidates follow completed ones; with several,
        from the Pareto front.
        """
        front = {trial.trial_id for trial in self.front}
        ranking = [
            trial
            for trial in self.ranking()
            if (trial.trial_id in front if len(self.objectives) > 1 else trial.status in ("completed", "pruned"))
        ]
        first_of = {trial.fingerprint: trial for trial in reversed(ranking)}
        return [trial for trial in ranking if first_of[trial.fingerprint] is trial][:limit]

    def ask_seconds(self) -> tuple[float, float] | None:
        """Median and maximum of the seconds that the sampler took for a proposal; None without trials."""
        seconds = [trial.ask_seconds for trial in self.trials.values()]
        return (median(seconds), max(seconds)) if seconds else None

    def utilisation(self) -> float | None:
        """Fraction (0..1) of the slots' time that was spent on training.

        The time is from the first trial's start to the last one's end, or to the last resume if that was later. The
        times between an end and a resume are left out.
        """
        starts = [trial.started_at for trial in self.all_trials() if trial.started_at]
        ends = [trial.ended_at or trial.curve[-1].time for trial in self.all_trials() if trial.ended_at or trial.curve]
        if not starts or not ends or not self.slots:
            return None
        end = max(*ends, self._resumed_at or ends[0])
        elapsed = (end - min(starts)).total_seconds() - self.away_seconds
        seconds = sum(trial.train_seconds for trial in self.all_trials())
        return seconds / (self.slots * elapsed) if elapsed > 0 else None


UNBUILDABLE_IN_A_ROW = 100
"""A search ends after this many proposals in a row from which no network can be built."""


def exhaustion(state: RunState) -> str:
    """Say why a search that has ended had nothing more to train, judging by its last proposals."""
    since = _last_proposals(state)
    failed = [trial for trial in since if trial.status == "failed"]
    if len(failed) >= UNBUILDABLE_IN_A_ROW:
        return f"no network could be built from {len(failed)} proposals in a row: {failed[0].error}"
    if 2 * sum(trial.status == "infeasible" for trial in since) > len(since):
        return f"no proposal meets the constraints any more: {infeasibility(state)}"
    return "the sampler proposed nothing new any more"


def infeasibility(state: RunState) -> str:
    """Say how close the last proposals came to the constraints. At least one of them must break a constraint."""
    infeasible = [trial for trial in _last_proposals(state) if trial.status == "infeasible"]
    closest = min(infeasible, key=state.distance)
    costs = "; ".join(
        f"{closest.costs[name]:,.0f} {name}; the limit is {state.constraints[name]:,.0f}"
        for name, excess in state.violations(closest).items()
        if excess > 0
    )
    return f"smallest of {len(infeasible):,}: {costs} (objectives.constraints)"


def _last_proposals(state: RunState) -> list[Trial]:
    """The proposals since the last one that was trained, the last one first."""
    return list(itertools.takewhile(lambda trial: not trial.was_started, reversed(state.trials.values())))
