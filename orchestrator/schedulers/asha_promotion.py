"""ASHA, promotion variant: trials pause at each rung, and the best ones are promoted.

Source: Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020, https://arxiv.org/abs/1810.05934,
algorithm 2. Ray Tune does not have this variant.

A trial that reaches a rung is paused with a checkpoint. A free worker continues a paused trial that is among the best
of its rung, from the highest rung that has one. If there is none, it starts a new trial. A trial that diverged counts
as the worst of its next rung.

The paper does not say how a search ends. Here, once there are no new trials, none is running and none is promotable,
the best trial of each rung that promoted none is promoted, so that a small search also trains its best trial to the
end. If no trial was trained to the end, because all that were promoted failed or diverged, the best paused trial of the
highest rung follows. Then the paused trials are stopped.

Three other methods are settings of this one. With as many brackets as fit it is asynchronous Hyperband (the paper
above, section 3). With a single rung it is i-Epoch, one cut after which the best are trained in full (Egele et al., The
Unreasonable Effectiveness Of Early Discarding After One Epoch In Neural Network Hyperparameter Optimization, 2024,
https://arxiv.org/abs/2404.04111). With a ceiling it is PASHA (see `Ceiling`). After a search with PASHA, the paper
trains the best trial from scratch. Here, at the end of the search, the best `FINALISTS` of the largest rung are trained
to the end, so that the search has whole trainings, which a confirmation can compare.

A searcher that limits the number of unfinished trials (Ray Tune's `ConcurrencyLimiter`) also counts the paused ones,
and then waits forever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestrator.objectives import Direction
from orchestrator.schedulers.ceiling import Ceiling
from orchestrator.schedulers.objective_values import only_objective
from orchestrator.schedulers.rungs import Rung
from orchestrator.schedulers.successive_halving import SuccessiveHalving
from orchestrator.schedulers.waiting_line import waits_for_a_worker

FINALISTS = 5
"""Trials that a search with a ceiling trains to the end, at most; as many as are confirmed by default."""


@final
class AshaPromotionScheduler(SuccessiveHalving):
    """Pauses a trial at each rung, and promotes the best 1 in `reduction_factor`, rounded down.

    For the settings see `SuccessiveHalving`. After a resume, a trial whose last epoch is that of a rung is paused as
    soon as it is added to Ray Tune, and may then be promoted.

    Args:
        progressive: PASHA: raise the largest rung only while the ranking still changes. For one objective.
    """

    def __init__(
        self,
        *,
        max_epochs: int,
        min_epochs: int = 1,
        reduction_factor: int = 3,
        brackets: int | None = 1,
        objectives: Mapping[str, Direction] | None = None,
        rungs: int | None = None,
        progressive: bool = False,
    ) -> None:
        super().__init__(
            max_epochs=max_epochs,
            min_epochs=min_epochs,
            reduction_factor=reduction_factor,
            brackets=brackets,
            objectives=objectives,
            rungs=rungs,
        )
        if progressive:
            only_objective("pasha", objectives)
            self.several_objectives = False
            self._ceiling = Ceiling(self.milestones, max_epochs)
        self._ends = False  # whether only paused trials and those promoted from among them are left
        self._added: set[str] = set()  # Ray Tune's ids of all trials that were ever added
        self._unfinished: set[str] = set()
        self._pausing: dict[str, Trial] = {}  # until Ray Tune has saved their checkpoints
        self._paused: dict[str, Trial] = {}
        self._promoted: Trial | None = None  # gets the next free worker; None again once it has one

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Assign the trial a bracket, unless it has one; pause it again if it was paused before a resume."""
        name = self._name_of(trial)
        was_paused = any(name in rung and not rung.has_passed(name) for rung in self._rungs_of(trial).values())
        self._unfinished.add(name)
        self._ends = False
        if was_paused and trial.trial_id not in self._added:
            trial.set_status(Trial.PAUSED)  # Ray Tune reads the trial's status after this call
            self._paused[name] = trial
        else:
            self._line.join(trial)
        self._added.add(trial.trial_id)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Pause at a rung, unless this trial is promoted next. See `_decide_without_rung` for other epochs."""
        name = self._name_of(trial)
        self._enter_in_ceiling(name, result)
        rung = self._rungs_of(trial).get(result["epoch"])
        if rung is None:
            return self._decide_without_rung(trial, result)
        values = self._objectives.read(result)
        rung.enter(name, values)
        if values is None:
            return TrialScheduler.STOP
        if rung.has_passed(name):  # a retry after an error, which reaches the rung a second time
            return TrialScheduler.CONTINUE
        self._sync_with_tune()
        self._paused[name] = trial
        if self._promoted is None:
            self._promoted = self._promote()
        if self._promoted is trial:  # a pause would free the worker only to give it this trial again
            self._promoted = None
            return TrialScheduler.CONTINUE
        self._pausing[name] = self._paused.pop(name)
        return TrialScheduler.PAUSE

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Enter the last result; an ended trial stays in its rungs."""
        self._enter_last_result(trial, result)
        self._remove_unfinished(trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Keep the trial in its rungs, because its scores were real. Ray Tune adds it again if it retries it."""
        self._remove_unfinished(trial)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Keep the trial in its rungs."""
        self._remove_unfinished(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return a promoted trial, else the new one that has waited longest.

        At the end of the search, promote the best trials left, or stop all paused trials if there are none.
        """
        self._sync_with_tune()
        if self._promoted is None:
            self._promoted = self._promote()
        only_paused_left = len(self._paused) == len(self._unfinished) and tune_controller.search_alg.is_finished()
        if self._promoted is None and only_paused_left:
            self._ends = True
            self._promoted = self._promote()
            if self._promoted is None:
                for trial in list(self._paused.values()):
                    tune_controller.stop_trial(trial)
        return self._promoted or self._line.head(tune_controller)

    def _promote(self) -> Trial | None:
        """Return the paused trial to promote, marked as passed in its rung. Returns None if there is none."""
        for rung, names in self._names_to_promote():
            for name in names:
                trial = self._paused.pop(name, None)
                if trial is not None:
                    rung.mark_passed(name)
                    return trial
        return None

    def _names_to_promote(self) -> Iterator[tuple[Rung, list[str]]]:
        """Yield the rungs, the highest first, with the trials that may pass; best first, also those that ended."""
        ceiling = self._ceiling.epoch
        for epoch, rung in self._brackets.by_height:
            if epoch < ceiling:
                yield rung, rung.promotable(at_least=1 if self._ends else 0)
            else:
                yield rung, rung.not_passed_among_best(FINALISTS if self._ends else 0)
        # A trial that runs may still reach the end; if it does not, this is asked again.
        if self._ends and not self._has_whole_training and len(self._paused) == len(self._unfinished):
            for _, rung in self._brackets.by_height:
                yield rung, rung.not_passed_among_best(len(rung))

    def _sync_with_tune(self) -> None:
        """Update the sets of trials from the statuses that Ray Tune has set since the last call."""
        for name, trial in list(self._pausing.items()):  # at most one per worker
            if trial.status == Trial.PAUSED:
                self._paused[name] = self._pausing.pop(name)
        promoted = self._promoted
        if promoted is not None and promoted.status != Trial.PAUSED and not waits_for_a_worker(promoted):
            self._promoted = None

    def _remove_unfinished(self, trial: Trial) -> None:
        name = self._name_of(trial)
        self._unfinished.discard(name)
        self._pausing.pop(name, None)
        self._paused.pop(name, None)
        if self._promoted is trial:
            self._promoted = None
