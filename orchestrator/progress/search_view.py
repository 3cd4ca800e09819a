"""What there is to say of a running search or evaluation. Drawn from the same state that a log's replay gives."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, final

from ray import tune

from orchestrator.config import SearchConfig
from orchestrator.progress.display import Show
from orchestrator.progress.standing import Row, Standing
from orchestrator.progress.time_left import seconds_left
from orchestrator.progress.words import clock, describe, harmless, named, number, roughly, scores, sparkline
from orchestrator.record import RunState, Trial, leader, now

OPEN = ("running", "waiting", "paused")
PROBLEMS = ("failed", "diverged")


@final
class ProgressCallback(tune.Callback):
    """Shows how it stands in Ray Tune's own loop."""

    def __init__(self, show: Show) -> None:
        self._show = show

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called by Ray Tune after each event, or every tenth of a second."""
        self._show()


@final
class SearchView:
    """
    Args:
        config, state: of the run; the state goes on.
        milestones: the epochs after which the scheduler may stop a trial; None: after any.
    """

    def __init__(self, config: SearchConfig, state: RunState, milestones: tuple[int, ...] | None) -> None:
        self._config = config
        self.state = state
        self._milestones = milestones

    def standing(self, at: datetime | None = None) -> Standing:
        """How it stands `at` a time, by default now."""
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
            *([Row("front", [f"{len(state.front)} completed, beaten by none in all objectives"])] * self._has_front),
            Row("reached", [f"{epoch}: {count}" for epoch, count in self._reached().items()]),
            Row("workers", self._workers(counts, at)),
            Row("time", time),
            *([] if trouble is None else [Row("trouble", [trouble], mood="trouble")]),
        ]
        said = ", ".join(kinds)
        line = "; ".join(
            [
                f"{of_budget} ended{f' ({said})' if said else ''}, {open_trials} open",
                f"{counts['running']}/{state.slots} workers busy",
                self._best_in_words(),
                ", ".join(time),
                *([] if trouble is None else [trouble]),
            ]
        )
        return Standing(
            title=f"cellscout · {self._config.run.name}",
            subtitle=" · ".join(self._names()),
            rows=rows,
            line=line,
            news=(ended, state.trained_epochs, counts["running"]),
            trouble=trouble,
        )

    @property
    def _budget(self) -> int | None:
        """How many trials are to be trained."""
        return self._config.budget.trials if self.state.evaluation is None else len(self.state.trials)

    @property
    def _width(self) -> int:
        """Of the trials' row, so that its bar stays where it is."""
        return 0 if self._budget is None else len(f"{self._budget} of {self._budget} ended")

    @property
    def _has_front(self) -> bool:
        return len(self.state.objectives) > 1 and self.state.evaluation is None

    def _ended(self, counts: Counter[str]) -> int:
        """Of those that count: duplicates and infeasible ones cost no budget."""
        return sum(counts.values()) - sum(counts[kind] for kind in (*OPEN, "duplicate", "infeasible"))

    def _best_rows(self) -> list[Row]:
        """The trial that leads, or in an evaluation the candidate."""
        state, leads = self.state, leader(self.state)
        if leads is not None:
            candidate, score, trainings = leads
            return [Row("best", [number(score), f"cell {candidate.name}, mean of {trainings} trainings"], mood="good")]
        if state.evaluation is not None:
            return [Row("best", ["no training completed yet"])]
        best = state.best
        if best is None:
            return [Row("best", [*self._so_far(), "none completed yet"])]
        found = [named(best), *self._since(best), sparkline(_accuracies(best))]
        return [Row("best", [scores(best, state), *filter(None, found)], mood="good")]

    def _so_far(self) -> list[str]:
        """The highest score of those in training, before one has completed."""
        trained = [trial for trial in self.state.trials.values() if trial.val_accuracy is not None]
        if not trained or next(iter(self.state.objectives), "val_accuracy") != "val_accuracy":
            return []
        highest = max(trained, key=lambda trial: trial.val_accuracy or 0.0)
        return [f"{number(highest.val_accuracy)} so far", named(highest)]

    def _since(self, best: Trial) -> list[str]:
        """How many trials have ended since the best one did."""
        later = sum(
            trial.ended_at is not None and best.ended_at is not None and trial.ended_at > best.ended_at
            for trial in self.state.trials.values()
            if trial.attempt > 0
        )
        return [f"unbeaten for {later} trials"] if later > 1 else []

    def _best_in_words(self) -> str:
        leads, best = leader(self.state), self.state.best
        if leads is not None:
            candidate, score, trainings = leads
            return f"best {number(score)} (cell {candidate.name}, mean of {trainings} trainings)"
        return "no trial completed yet" if best is None else f"best {describe(best, self.state)}"

    def _names(self) -> list[str]:
        plan = self.state.evaluation
        if plan is not None:
            return [self._config.space.name, f"{plan.folds} folds", f"seeds {', '.join(map(str, plan.seeds))}"]
        return [self._config.space.name, self._config.sampler.name, self._config.scheduler.name]

    def _reached(self) -> dict[str, int]:
        """How many trials came to each rung, and to the end."""
        reached = Counter(trial.epochs for trial in self.state.trials.values() if trial.duplicate_of is None)
        return {
            f"{'epoch ' if place == 0 else ''}{epoch}": sum(
                count for epochs, count in reached.items() if epochs >= epoch
            )
            for place, epoch in enumerate((*(self._milestones or ()), self._config.training.epochs))
        }

    def _workers(self, counts: Counter[str], at: datetime) -> list[str]:
        state = self.state
        on_worker = [trial for trial in state.trials.values() if trial.on_worker]
        parts = [f"{counts['running']} of {state.slots} busy"]
        if state.session_started_at is None:
            return [*parts, "they are being started"]
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
            ago = (at - last).total_seconds()  # by two clocks, of which one may be ahead
            parts.append(f"last epoch {f'{roughly(ago)} ago' if ago >= 3 else 'just now'}")
        return parts

    def _is_last(self, on_worker: list[Trial]) -> bool:
        """Whether every trial of the budget has begun."""
        budget = self._budget
        return (
            bool(on_worker) and budget is not None and sum(t.attempt > 0 for t in self.state.trials.values()) >= budget
        )

    def _time(self, at: datetime) -> list[str]:
        """Elapsed, without the times in which nothing ran; left, as far as it is known; and when it will be over."""
        state = self.state
        if state.started_at is None:
            return ["starting"]
        elapsed = state.active_seconds(until=at)
        return [*self._left(elapsed, at), f"{clock(elapsed)} elapsed"]

    def _left(self, elapsed: float, at: datetime) -> list[str]:
        state, budget = self.state, self._config.budget
        by_trials = None
        if self._budget is not None:
            by_trials = seconds_left(state, self._budget, self._config.training.epochs, self._rungs, at)
        by_hours = None if budget.hours is None else max(0.0, budget.hours * 3600 - elapsed)
        if by_hours is not None and (by_trials is None or by_hours < by_trials):
            most = "at most " if by_trials is None and self._budget is not None else ""
            return [f"{most}{roughly(by_hours)} left (budget.hours)", _until(at, by_hours)]
        return [] if by_trials is None else [f"about {roughly(by_trials)} left", _until(at, by_trials)]

    @property
    def _rungs(self) -> tuple[int, ...] | None:
        return () if self.state.evaluation is not None else self._milestones

    def _trouble(self, counts: Counter[str]) -> str | None:
        """How many went wrong, and why the last of them did."""
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
        return f"last {trial_id}: {harmless(reason)}"


def _until(at: datetime, left: float) -> str:
    """When it will be over, by the clock of this machine."""
    end, here = (at + timedelta(seconds=left)).astimezone(), at.astimezone()
    return f"until {end:%H:%M}" if end.date() == here.date() else f"until {end:%a %H:%M}"


def _accuracies(trial: Trial) -> list[float]:
    return [row.val_accuracy for row in trial.curve if row.val_accuracy is not None]
