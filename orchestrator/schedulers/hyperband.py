"""Hyperband (Li et al., Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization, JMLR 18(185), 2018).

As Ray Tune has it: brackets of trials that wait at each of their rungs for the whole bracket. What is Ray Tune's stays
so: it fills the bracket that halves nobody first, and that bracket counts as full only while enough of its trials are
unfinished. Where fewer than about log(max_epochs) / log(reduction_factor) + 2 trials are running or waiting at any time
(5 with 27 epochs and a factor of 3, which takes 3 workers), every trial lands there, and nobody is ever stopped. At
every event it looks through all brackets.

What would hang does not: Ray Tune 2.60 marks a bracket as being processed when it is first halved, and never unmarks
it, so that the rest of it stays paused for ever where a trial fails or ends by itself. Here it is unmarked. Trials that
wait for nobody, as can be after a resume, are stopped at the end of the search, the worst first.

A resume begins with new brackets, and trials that had ended do not count: a bracket is the set of its unfinished
trials. Those that come back are compared by what they had at each rung. Use ASHA with `brackets` where either matters.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import HyperBandScheduler as TuneHyperBandScheduler
from ray.tune.schedulers import TrialScheduler

from orchestrator.objectives import Direction
from orchestrator.schedulers.objective_values import only_objective
from orchestrator.schedulers.ray_internals import restoring_mark

VALUE = "value"


@final
class HyperbandScheduler(TrialScheduler):
    """Ray Tune's, on epochs. Differs from it in that a value that is not finite passes no rung.

    Args:
        max_epochs: the whole budget of a trial.
        min_epochs: refused if Hyperband would stop a trial earlier; it follows its rungs from the other two.
        reduction_factor: eta, at least 2.
        objectives: the direction of the only objective; None for the one that Ray Tune names.

    Raises:
        ValueError: a setting is out of its bounds, or there are several objectives.
    """

    several_objectives = False

    def __init__(
        self,
        *,
        max_epochs: int,
        min_epochs: int = 1,
        reduction_factor: int = 3,
        objectives: Mapping[str, Direction] | None = None,
    ) -> None:
        super().__init__()
        if max_epochs < 1:
            raise ValueError(f"max_epochs is {max_epochs}; it must be at least 1")
        if reduction_factor < 2:
            raise ValueError(f"reduction_factor is {reduction_factor}; it must be at least 2")
        self._objective = only_objective("hyperband", objectives)
        self._hyperband = TuneHyperBandScheduler(
            time_attr="epoch", metric=VALUE, mode="max", max_t=max_epochs, reduction_factor=reduction_factor
        )
        self._alive: set[str] = set()
        self._waiting: dict[str, tuple[float, Trial]] = {}
        self._untold: dict[str, list[dict[str, Any]]] = {}  # by Ray Tune's id: results that its scheduler has to hear
        self.milestones = _milestones(max_epochs, reduction_factor)
        if self.milestones and min_epochs > self.milestones[0]:
            raise ValueError(
                f"min_epochs is {min_epochs}; with max_epochs {max_epochs} and reduction_factor {reduction_factor} "
                f"hyperband stops trials from epoch {self.milestones[0]} on; use asha with brackets"
            )

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Called by Ray Tune with the metric, which is the objective if none was stated."""
        return self._objective.set_metric(metric, mode)

    def take_up(self, tune_id: str, curve: Sequence[Mapping[str, Any]]) -> None:
        """Keep what the trial had at the rungs: its new bracket compares it by that, not by what it came to since."""
        rows = [(row["epoch"], self._objective.of(row)) for row in curve if row["epoch"] in self.milestones]
        self._untold[tune_id] = [_told(epoch, *values) for epoch, values in rows if values is not None]

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """The trial joins the bracket that is being filled."""
        self._alive.add(trial.trial_id)
        self._hyperband.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Pause at a rung, until the bracket is there; then stop or go on."""
        values = self._objective.of(result)
        if values is None:
            return TrialScheduler.STOP if result["epoch"] in self.milestones else TrialScheduler.CONTINUE
        untold = self._untold.setdefault(trial.trial_id, [])
        untold.append(_told(result["epoch"], *values))
        decision = TrialScheduler.CONTINUE
        while untold and decision == TrialScheduler.CONTINUE:
            told = untold.pop(0)
            with self._unmarking(trial):
                decision = self._hyperband.on_trial_result(tune_controller, trial, told)
        self._waiting.pop(trial.trial_id, None)
        if decision == TrialScheduler.PAUSE:
            self._waiting[trial.trial_id] = (told[VALUE], trial)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """The bracket goes on without it."""
        self._forget(trial)
        with self._unmarking(trial):
            self._hyperband.on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """As `on_trial_complete`."""
        self._forget(trial)
        with self._unmarking(trial):
            self._hyperband.on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """As `on_trial_complete`."""
        self._forget(trial)
        with self._unmarking(trial):
            self._hyperband.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Of the bracket that is least complete. At the end of the search, stop those left over."""
        chosen = self._hyperband.choose_trial_to_run(tune_controller)
        all_wait = bool(self._alive) and len(self._waiting) == len(self._alive)
        if chosen is None and all_wait and tune_controller.search_alg.is_finished():
            waiting = sorted(self._waiting.values(), key=lambda entry: entry[0])
            if all(trial.status == Trial.PAUSED for _, trial in waiting):
                tune_controller.stop_trial(waiting[0][1])  # one at a time: it may let the others go on
        return chosen

    def debug_string(self) -> str:
        """As Ray Tune has it."""
        return self._hyperband.debug_string()

    @contextlib.contextmanager
    def _unmarking(self, trial: Trial) -> Iterator[None]:
        """Around a call of Ray Tune's scheduler. That may lead to another call: the outermost ends the processing."""
        with restoring_mark(self._hyperband, trial):
            yield

    def _forget(self, trial: Trial) -> None:
        self._alive.discard(trial.trial_id)
        self._waiting.pop(trial.trial_id, None)
        self._untold.pop(trial.trial_id, None)


def _told(epoch: int, value: float) -> dict[str, Any]:
    """A result as Ray Tune's scheduler is told it."""
    return {"epoch": epoch, VALUE: value}


def _milestones(max_epochs: int, reduction_factor: int) -> tuple[int, ...]:
    """The epochs below `max_epochs` at which some bracket waits; computed as Ray Tune does."""
    epochs = set()
    first = max_epochs
    halvings = 0
    while first >= 1:
        rung = first
        while rung < max_epochs:
            epochs.add(rung)
            rung *= reduction_factor
        halvings += 1
        first = int(max_epochs * reduction_factor**-halvings)
    return tuple(sorted(epochs))
