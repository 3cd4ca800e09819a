"""ASHA, promotion kind: asynchronous successive halving as published (Li et al., A System for Massively Parallel
Hyperparameter Tuning, MLSys 2020, https://arxiv.org/abs/1810.05934, algorithm 2). Ray Tune has none.

A trial that reaches a rung is paused, with a checkpoint. A worker that is free goes on with a paused trial that is
among the best of its rung, of the highest rung that has one; if there is none, it begins a new trial.

Differs from the paper in how it ends, of which the paper says nothing: once there are no more new trials, nothing runs
and nothing is promotable, the best of each rung that promoted nobody is promoted, so that a small search too trains its
best to the end; then the paused trials are stopped.

A searcher that limits how many trials are unfinished (Ray Tune's `ConcurrencyLimiter`) counts the paused ones too, and
then waits for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestrator.objectives import Direction
from orchestrator.schedulers.successive_halving import SuccessiveHalving
from orchestrator.schedulers.waiting_line import waits_for_a_worker


@final
class AshaPromotionScheduler(SuccessiveHalving):
    """Pauses a trial at each rung, and promotes the best 1 in `reduction_factor`, rounded down.

    For the settings see `SuccessiveHalving`. After a resume, a trial that was paused is paused again as soon as Ray
    Tune is given it.
    """

    def __init__(
        self,
        *,
        max_epochs: int,
        min_epochs: int = 1,
        reduction_factor: int = 3,
        brackets: int = 1,
        objectives: Mapping[str, Direction] | None = None,
    ) -> None:
        super().__init__(
            max_epochs=max_epochs,
            min_epochs=min_epochs,
            reduction_factor=reduction_factor,
            brackets=brackets,
            objectives=objectives,
        )
        self._added: set[str] = set()  # Ray Tune's ids
        self._alive: set[str] = set()
        self._pausing: dict[str, Trial] = {}  # until Ray Tune has saved them
        self._paused: dict[str, Trial] = {}
        self._promoted: Trial | None = None  # until it has a worker; it is to get the next one that is free

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """The trial gets its bracket, unless it has one; if it waited in a rung before a resume, it waits on."""
        name = self._name_of(trial)
        waited = any(name in rung and not rung.has_gone_on(name) for rung in self._rungs_of(trial).values())
        self._alive.add(name)
        if waited and trial.trial_id not in self._added:
            trial.set_status(Trial.PAUSED)  # Ray Tune files a trial by the status that it has after this call
            self._paused[name] = trial
        else:
            self._line.join(trial)
        self._added.add(trial.trial_id)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Pause at a rung, unless the worker would go on with this very trial; let it run between two."""
        rung = self._rungs_of(trial).get(result["epoch"])
        if rung is None:
            return TrialScheduler.CONTINUE
        values = self._objectives.of(result)
        if values is None:
            return TrialScheduler.STOP
        name = self._name_of(trial)
        rung.enter(name, values)
        if rung.has_gone_on(name):  # it came here before, and was tried again after an error
            return TrialScheduler.CONTINUE
        self._settle()
        self._paused[name] = trial
        if self._promoted is None:
            self._promoted = self._promote()
        if self._promoted is trial:  # the worker that becomes free would go on with what it has
            self._promoted = None
            return TrialScheduler.CONTINUE
        self._pausing[name] = self._paused.pop(name)
        return TrialScheduler.PAUSE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A trial that ended keeps its places on the rungs."""
        self._enter_last(trial, result)
        self._forget(trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """As `on_trial_complete`: its scores were real. If it is tried again, Ray Tune adds it again."""
        self._forget(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """As `on_trial_complete`."""
        self._forget(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """A promoted trial, else the new one that waits longest. At the end of the search, stop those left over."""
        self._settle()
        if self._promoted is None:
            self._promoted = self._promote()
        nothing_else = len(self._paused) == len(self._alive) and tune_controller.search_alg.is_finished()
        if self._promoted is None and nothing_else:
            self._promoted = self._promote(at_least=1)
            if self._promoted is None:
                for trial in list(self._paused.values()):
                    tune_controller.stop_trial(trial)
        return self._promoted or self._line.head(tune_controller)

    def _promote(self, at_least: int = 0) -> Trial | None:
        """Take the paused trial that is to go on out of its rung."""
        for rung in self._brackets.by_height:
            for name in rung.promotable(at_least):
                trial = self._paused.pop(name, None)
                if trial is not None:
                    rung.let_go_on(name)
                    return trial
        return None

    def _settle(self) -> None:
        """Take note of what Ray Tune has done since."""
        for name, trial in list(self._pausing.items()):  # at most one a worker
            if trial.status == Trial.PAUSED:
                self._paused[name] = self._pausing.pop(name)
        promoted = self._promoted
        if promoted is not None and promoted.status != Trial.PAUSED and not waits_for_a_worker(promoted):
            self._promoted = None

    def _forget(self, trial: Trial) -> None:
        name = self._name_of(trial)
        self._alive.discard(name)
        self._pausing.pop(name, None)
        self._paused.pop(name, None)
        if self._promoted is trial:
            self._promoted = None
