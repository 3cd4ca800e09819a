"""How a running search is shown: a calm panel in a terminal, plain lines elsewhere.

Drawn from the same state that a log's replay gives, in Ray Tune's own loop, so no thread is needed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Self, final

from ray import tune
from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from orchestrator.config import SearchConfig
from orchestrator.events import now
from orchestrator.run_state import RunState, Trial
from orchestrator.trainings import leader

PANEL_SECONDS = 0.5
LINE_SECONDS = 10.0
BARS = "▁▂▃▄▅▆▇█"


class Progress:
    """Where progress goes: a console (standard error), or nowhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @classmethod
    def silent(cls) -> Self:
        return cls(Console(quiet=True))

    def note(self, message: str) -> None:
        """What is being done before the first trial."""
        self._console.print(Text(f"{message} ..."), style="dim")

    def line(self, message: str) -> None:
        """How something stands that has no panel."""
        self._console.print(Text(message), soft_wrap=True)

    @contextlib.contextmanager
    def showing(
        self, config: SearchConfig, state: RunState, milestones: tuple[int, ...] | None
    ) -> Iterator[tune.Callback]:
        """Show the state for as long as the context lasts; the callback must be given to Ray Tune."""
        view = ProgressView(config, state, milestones)
        if not self._console.is_terminal:
            yield PlainLines(self._console, view)
            return
        with Live(view.panel(), console=self._console, auto_refresh=False, transient=True) as live:
            yield LivePanel(live, view)


class ProgressView:
    """What there is to say about a running search."""

    def __init__(self, config: SearchConfig, state: RunState, milestones: tuple[int, ...] | None) -> None:
        self._config = config
        self._state = state
        self._rungs = (*(milestones or ()), config.training.epochs)

    def panel(self) -> RenderableType:
        counts = self._state.counts()
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column()
        table.add_row("trials", self._trials())
        table.add_row("best", Text(self._best_and_its_curve()))
        if len(self._state.objectives) > 1:
            table.add_row("front", Text(f"{len(self._state.front)} completed, beaten by none in all objectives"))
        table.add_row("rungs", "  ".join(f"epoch {epoch}: {count}" for epoch, count in self._rung_counts().items()))
        table.add_row("workers", f"{counts['running']} of {self._state.slots} busy")
        table.add_row("time", self._time())
        problems = counts["failed"] + counts["diverged"]
        if problems:
            table.add_row("trouble", f"{counts['failed']} failed, {counts['diverged']} diverged", style="red")
        names = " · ".join(self._names())
        return Panel(table, title=f"cellscout · {self._config.run.name}", subtitle=names, expand=False)

    def _best(self) -> str | None:
        """The trial that leads, or in an evaluation the candidate; None before there is one."""
        leads, best = leader(self._state), self._state.best
        if leads is not None:
            candidate, score, trainings = leads
            return f"{number(score)} (cell {candidate.name}, mean of {trainings} trainings)"
        return None if best is None else describe(best, self._state)

    def _best_and_its_curve(self) -> str:
        best = self._state.best
        return f"{self._best() or 'none completed yet'}{'' if best is None else f'  {sparkline(best)}'}"

    def _names(self) -> list[str]:
        plan = self._state.evaluation
        if plan is not None:
            return [self._config.space.name, f"{plan.folds} folds", f"seeds {', '.join(map(str, plan.seeds))}"]
        return [self._config.space.name, self._config.sampler.name, self._config.scheduler.name]

    @property
    def _budget(self) -> int | None:
        """How many trials are to be trained."""
        return self._config.budget.trials if self._state.evaluation is None else len(self._state.trials)

    def line(self) -> str:
        counts, best = self._state.counts(), self._best()
        score = "no trial completed yet" if best is None else f"best {best}"
        return f"{self._trials()}; {counts['running']}/{self._state.slots} workers busy; {score}; {self._time()}"

    def _trials(self) -> str:
        counts = self._state.counts()
        open_trials = sum(counts.pop(status, 0) for status in ("running", "waiting", "paused"))
        ended = sum(counts.values()) - counts["duplicate"] - counts["infeasible"]
        total = "" if self._budget is None else f" of {self._budget}"
        kinds = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        return f"{ended}{total} ended" + (f" ({kinds})" if kinds else "") + f", {open_trials} open"

    def _rung_counts(self) -> dict[int, int]:
        reached = [trial.epochs for trial in self._state.trials.values()]
        return {epoch: sum(epochs >= epoch for epochs in reached) for epoch in self._rungs}

    def _time(self) -> str:
        if self._state.started_at is None:
            return ""
        elapsed = (now() - self._state.started_at).total_seconds()
        left = self._seconds_left(elapsed)
        return f"{clock(elapsed)} elapsed" + ("" if left is None else f", about {clock(left)} left")

    def _seconds_left(self, elapsed: float) -> float | None:
        """By the mean time of the trials ended so far, once a fifth of them have, and by the hours of the budget."""
        estimates = []
        # Of those that count: duplicates and infeasible ones cost no budget.
        ended = sum(trial.ended_at is not None and trial.attempt > 0 for trial in self._state.trials.values())
        if self._budget is not None and ended >= max(3, self._budget / 5):
            estimates.append(elapsed / ended * (self._budget - ended))
        if self._config.budget.hours is not None:
            estimates.append(max(0.0, self._config.budget.hours * 3600 - elapsed))
        return min(estimates, default=None)


@final
class LivePanel(tune.Callback):
    """Redraws the panel, at most twice a second."""

    def __init__(self, live: Live, view: ProgressView) -> None:
        self._live = live
        self._view = view
        self._drawn = 0.0

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called by Ray Tune after each event, or every tenth of a second."""
        if time.monotonic() - self._drawn >= PANEL_SECONDS:
            self._live.update(self._view.panel(), refresh=True)
            self._drawn = time.monotonic()


@final
class PlainLines(tune.Callback):
    """Prints a line every ten seconds."""

    def __init__(self, console: Console, view: ProgressView) -> None:
        self._console = console
        self._view = view
        self._printed = time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called by Ray Tune after each event, or every tenth of a second."""
        if time.monotonic() - self._printed >= LINE_SECONDS:
            self._console.print(Text(self._view.line()), soft_wrap=True)
            self._printed = time.monotonic()


def describe(trial: Trial, state: RunState) -> str:
    return f"{scores(trial, state)} (trial {trial.trial_id}, {trial.epochs} epochs)"


def scores(trial: Trial, state: RunState) -> str:
    """The trial's value in each objective; the accuracy on the validation images needs no name."""
    return ", ".join(
        number(trial.metric(name)) if name == "val_accuracy" else f"{name} {number(trial.metric(name))}"
        for name in state.objectives
    )


def number(value: float | None) -> str:
    """Whole numbers with thousands separated, others to four digits."""
    if value is None:
        return "-"
    if 0 < abs(value) < 0.01:
        return f"{value:.3g}"
    return f"{value:,.0f}" if value == round(value) and abs(value) >= 10 else f"{value:.4f}"


def sparkline(trial: Trial) -> str:
    """The validation accuracy by epoch, from its lowest to its highest, in at most 30 characters."""
    scores = [row.val_accuracy for row in trial.curve if row.val_accuracy is not None]
    low, span = min(scores), max(scores) - min(scores) or 1.0
    step = -(-len(scores) // 30)
    return "".join(BARS[round((score - low) / span * (len(BARS) - 1))] for score in scores[step - 1 :: step])


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
