"""The progress of a running search or evaluation, read from the state that replaying its log also gives."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, final

from ray import tune

from orchestrator.config import SearchConfig
from orchestrator.progress.display import Refresh
from orchestrator.progress.guessing import guessing_doubt
from orchestrator.progress.snapshot import Row, Snapshot
from orchestrator.progress.time_left import seconds_left
from orchestrator.progress.words import (
    clock,
    describe,
    format_estimate,
    number,
    plain_line,
    scores,
    sparkline,
    trial_label,
)
from orchestrator.record import RunInfo, RunState, Trial, leader, now
from orchestrator.words import counted

OPEN = ("running", "waiting", "paused")
PROBLEMS = ("failed", "diverged")


@final
class RefreshOnStep(tune.Callback):
    """Refreshes the display from Ray Tune's loop."""

    def __init__(self, refresh: Refresh) -> None:
        self._refresh = refresh

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Refresh; Ray Tune calls this after each event, or every tenth of a second."""
        self._refresh()


@final
class SearchView:
    """Reports on a search or an evaluation.

    Args:
        config: the configuration of the run.
        state: the state of the run, which changes while it runs.
        milestones: the epochs after which the scheduler may stop a trial; None: after any epoch.
        info: of the run; without it, the best is not compared with guessing.
    """

    def __init__(
        self,
        config: SearchConfig,
        state: RunState,
        milestones: tuple[int, ...] | None,
        *,
        info: RunInfo | None = None,
    ) -> None:
        self._config = config
        self._info = info
        self.state = state
        self._milestones = milestones

    def snapshot(self, at: datetime | None = None) -> Snapshot:
        """Return the state of the run `at` a time, by default now."""
        at = at or now()
        state, counts = self.state, self.state.counts()
        ended, budget = self._ended(counts), self._budget
        kinds = [f"{count} {status}" for status, count in sorted(counts.items()) if status not in OPEN]
        open_trials = sum(counts[status] for status in OPEN)
        of_budget = f"{ended}" if budget is None else f"{ended} of {budget}"
        trouble, time = self._trouble(counts), self._time(at)
        rows = [
            Row(
                "trials",
                [f"{of_budget} ended".rjust(self._width)],
                done=None if not budget else min(1.0, ended / budget),
            ),
            Row("", [*kinds, f"{open_trials} open"]),
            *self._best_rows(),
            *([Row("front", [f"{len(state.front)} completed, none dominated"])] * self._has_front),
            Row("reached", self._reached()),
            Row("workers", self._workers(counts, at)),
            Row("time", time),
            *([] if trouble is None else [Row("trouble", [trouble], style="trouble")]),
        ]
        ended_kinds = ", ".join(kinds)
        starting = ", starting" if state.session_started_at is None else ""
        line = "; ".join(
            [
                f"{of_budget} ended{f' ({ended_kinds})' if ended_kinds else ''}, {open_trials} open",
                f"{counts['running']}/{counted(state.slots, 'worker')} busy{starting}",
                self._best_in_words(),
                ", ".join(time),
                *([] if trouble is None else [trouble]),
            ]
        )
        return Snapshot(
            title=f"cellscout · {self._config.run.name}",
            subtitle=" · ".join(self._names()),
            rows=rows,
            line=line,
            key=(ended, state.trained_epochs, counts["running"]),
            urgent_key=trouble,
        )

    @property
    def _budget(self) -> int | None:
        """Number of trials to train; None without a limit."""
        return self._config.budget.trials if self.state.evaluation is None else len(self.state.trials)

    @property
    def _width(self) -> int:
        """Width of the count in the row of trials, so that the bar does not move."""
        return 0 if self._budget is None else len(f"{self._budget} of {self._budget} ended")

    @property
    def _has_front(self) -> bool:
        return len(self.state.objectives) > 1 and self.state.evaluation is None

    def _ended(self, counts: Counter[str]) -> int:
        """Count the ended trials, without duplicates and infeasible ones, which cost no budget."""
        return sum(counts.values()) - sum(counts[kind] for kind in (*OPEN, "duplicate", "infeasible"))

    def _best_rows(self) -> list[Row]:
        """Return the row of the best trial, or in an evaluation of the best candidate."""
        state, leads = self.state, leader(self.state)
        if leads is not None:
            candidate, score, trainings = leads
            mean = f"cell {candidate.name}, mean of {counted(trainings, 'training')}"
            return [Row("best", [number(score), mean], style="good")]
        if state.evaluation is not None:
            return [Row("best", ["no training completed yet"])]
        best = state.best
        if best is None:
            return [Row("best", [*self._so_far(), "none completed yet"])]
        found = [trial_label(best), *self._since(best), sparkline(_accuracies(best))]
        if self._info is not None and guessing_doubt(state, self._info) is not None:
            return [Row("best", [scores(best, state), "not clearly better than guessing", *filter(None, found)])]
        return [Row("best", [scores(best, state), *filter(None, found)], style="good")]

    @property
    def _highest(self) -> Trial | None:
        """The trial with the highest accuracy so far, for the time before a trial has completed."""
        trained = [trial for trial in self.state.trials.values() if trial.val_accuracy is not None]
        if next(iter(self.state.objectives), "val_accuracy") != "val_accuracy":
            return None
        return max(trained, key=lambda trial: trial.val_accuracy or 0.0, default=None)

    def _so_far(self) -> list[str]:
        highest = self._highest
        return [] if highest is None else [f"{number(highest.val_accuracy)} so far", trial_label(highest)]

    def _since(self, best: Trial) -> list[str]:
        """Return how many trials have ended since the best one did."""
        later = sum(
            trial.end_place is not None and best.end_place is not None and trial.end_place > best.end_place
            for trial in self.state.trials.values()
            if trial.attempt > 0
        )
        return [f"unbeaten for {later} trials"] if later > 1 else []

    def _best_in_words(self) -> str:
        leads, best = leader(self.state), self.state.best
        if leads is not None:
            candidate, score, trainings = leads
            return f"best {number(score)} (cell {candidate.name}, mean of {counted(trainings, 'training')})"
        if best is not None:
            return f"best {describe(best, self.state)}"
        highest = self._highest
        so_far = "" if highest is None else f"{describe(highest, self.state)} so far, "
        return f"{so_far}no trial completed yet"

    def _names(self) -> list[str]:
        plan = self.state.evaluation
        if plan is not None:
            return [self._config.space.name, f"{plan.folds} folds", f"seeds {', '.join(map(str, plan.seeds))}"]
        return [self._config.space.name, self._config.sampler.name, self._config.scheduler.name]

    def _reached(self) -> list[str]:
        """Return how many trials reached each rung, and the last epoch."""
        reached = Counter(trial.epochs for trial in self.state.trials.values() if trial.duplicate_of is None)
        rungs = (*(self._milestones or ()), self._config.training.epochs)
        counts = {rung: sum(count for epochs, count in reached.items() if epochs >= rung) for rung in rungs}
        first, *others = counts
        return [f"epoch {first}: {counted(counts[first], 'trial')}", *(f"{epoch}: {counts[epoch]}" for epoch in others)]

    def _workers(self, counts: Counter[str], at: datetime) -> list[str]:
        state = self.state
        on_worker = [trial for trial in state.trials.values() if trial.on_worker]
        parts = [f"{counts['running']} of {state.slots} busy"]
        if state.session_started_at is None:
            return [*parts, "starting"]
        nodes = {trial.node for trial in on_worker if trial.node is not None}
        if len(nodes) > 1:
            parts.append(f"on {len(nodes)} nodes")
        elif counts["running"] < state.slots and self._is_last(on_worker):
            parts.append("with the last trials")
        utilisation = state.utilisation()
        if utilisation is not None and self._ended(counts) >= state.slots:
            parts.append(f"{min(1.0, utilisation):.0%} of the time")
        last = max((trial.curve[-1].time for trial in state.trials.values() if trial.curve), default=None)
        if last is not None and last >= state.session_started_at:
            ago = (at - last).total_seconds()  # by two clocks: negative if the worker's is ahead
            parts.append(f"last epoch {f'{format_estimate(ago)} ago' if ago >= 3 else 'just now'}")
        return parts

    def _is_last(self, on_worker: list[Trial]) -> bool:
        """Return whether every trial of the budget has begun."""
        budget = self._budget
        return (
            bool(on_worker) and budget is not None and sum(t.attempt > 0 for t in self.state.trials.values()) >= budget
        )

    def _time(self, at: datetime) -> list[str]:
        """Return the time left and the end, if there is an estimate, and the elapsed time without breaks."""
        state = self.state
        if state.started_at is None:
            return ["starting"]
        elapsed = state.active_seconds(until=at)
        return [*self._left(elapsed, at), f"{clock(elapsed)} elapsed"]

    def _left(self, elapsed: float, at: datetime) -> list[str]:
        state, budget = self.state, self._config.budget
        by_trials = None
        if self._budget is not None:
            by_trials = seconds_left(
                state, trials=self._budget, epochs=self._config.training.epochs, milestones=self._rungs, at=at
            )
        fraction = self._config.fraction_for_search(any_completed=state.best is not None)
        by_hours = None if budget.hours is None else max(0.0, budget.hours * fraction * 3600 - elapsed)
        if by_hours is not None and (by_trials is None or by_hours < by_trials):
            most = "at most " if by_trials is None and self._budget is not None else ""
            words, left, is_confirmed = f"{most}{format_estimate(by_hours)} left (budget.hours)", by_hours, fraction < 1
        elif by_trials is not None:
            words, left = f"about {format_estimate(by_trials)} left", by_trials
            is_confirmed = state.evaluation is None and self._config.confirmation.candidates != 0
        else:
            return []
        return [words, _until(at, left), *["then the confirmation"] * is_confirmed]

    @property
    def _rungs(self) -> tuple[int, ...] | None:
        return () if self.state.evaluation is not None else self._milestones

    def _trouble(self, counts: Counter[str]) -> str | None:
        """Return how many trials failed, diverged or were set back, and the reason of the last."""
        kinds = [f"{counts[kind]} {kind}" for kind in PROBLEMS if counts[kind]]
        set_back = sum(len(trial.set_back) for trial in self.state.trials.values())
        if set_back:
            kinds.append(f"{set_back} set back")
        if not kinds:
            return None
        return f"{', '.join(kinds)}; {self._last_reason()}"

    def _last_reason(self) -> str:
        reasons = []
        for trial in self.state.trials.values():
            if trial.status in PROBLEMS and trial.ended_at is not None:
                reasons.append((trial.ended_at, trial.trial_id, trial.error or trial.status))
            reasons += [(event.time, trial.trial_id, event.reason) for event in trial.set_back[-1:]]
        _, trial_id, reason = max(reasons)
        return f"last {trial_id}: {plain_line(reason)}"


def _until(at: datetime, left: float) -> str:
    """Format the expected end, in local time."""
    end, here = (at + timedelta(seconds=left)).astimezone(), at.astimezone()
    return f"until {end:%H:%M}" if end.date() == here.date() else f"until {end:%a %H:%M}"


def _accuracies(trial: Trial) -> list[float]:
    return [row.val_accuracy for row in trial.curve if row.val_accuracy is not None]
