"""The trials that Ray Tune is given: made from what the searcher suggests, and no dearer than they need be.

Ray Tune's own `SearchGenerator` makes a trial from a description of the whole experiment, which it copies and reads
anew for each one, and each of its trials asks the cluster five times for the trainable that all have in common:
together more work than the rest of a trial. It is finished for good, too, once its searcher has said so; here a trial
that lost its worker is handed out again. Knows Ray Tune's interface; knows neither Optuna nor the record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, final

from ray import tune
from ray.exceptions import RayError
from ray.tune.experiment import Experiment
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import SearchAlgorithm


class TrialSource(Protocol):
    """Says what is trained next: a search's `OptunaSearcher`, or the list of an evaluation's trainings."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The configuration of the next trial, which Ray Tune will know by this id; None or a word if there is none."""

    def is_finished(self) -> bool:
        """Whether there is nothing to hand out. A trial that loses its worker afterwards makes it false again."""

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """The trial has left its worker for good."""


@final
class SearchTrial(TuneTrial):
    """A trial that knows its trainable, and keeps of its results the last one only.

    What is overridden is what Ray Tune does for its own tables and snapshots, which are not used.
    """

    def __init__(self, worker: type[tune.Trainable], **settings: Any) -> None:
        self._worker = worker
        # A `stub` does not look its trainable up.
        super().__init__(worker.__name__, stub=True, **settings)
        self.storage.trial_dir_name = self.trial_id
        self.failure: BaseException | None = None
        """What ended the trial: an error in its worker, the death of it, or an error of Ray Tune's own."""

    def get_trainable_cls(self) -> type[tune.Trainable]:
        """Without asking the cluster's key-value store."""
        return self._worker

    def init_local_path(self) -> None:
        """No folder of its own on the driver, where nothing would be written to it."""

    def handle_error(self, exc: BaseException | None = None) -> None:
        """Without files. What Ray Tune raises itself holds a traceback, of which the last line says what it was."""
        own = not isinstance(exc, RayError)
        self.failure = RuntimeError((str(exc).strip().splitlines() or ["no reason given"])[-1]) if own else exc

    def should_recover(self) -> bool:
        """Never by Ray Tune: the searcher hands the trial out again."""
        return False

    def set_ray_actor(self, ray_actor: Any) -> None:
        """Without asking the worker who it is, which its first report says."""
        self.temporary_state.ray_actor = ray_actor

    def update_last_result(self, result: dict[str, Any]) -> None:
        """Without a statistic of each metric."""
        self.run_metadata.last_result = result
        self.run_metadata.last_result_time = time.time()

    def get_json_state(self) -> tuple[str, str]:
        """Nothing: a run is rebuilt from its event log."""
        return "{}", "{}"


@final
class TuneTrials(SearchAlgorithm):
    """Hands out the searcher's suggestions as trials.

    Args:
        searcher: asked for the parameters of each trial, as long as it has more.
        experiment: where Ray Tune keeps its files.
        worker: what trains.
        resources: what a trial of these parameters is to have.
    """

    def __init__(
        self,
        searcher: TrialSource,
        experiment: Experiment,
        worker: type[tune.Trainable],
        resources: Callable[[Mapping[str, Any]], tune.PlacementGroupFactory],
    ) -> None:
        self._searcher = searcher
        self._experiment = experiment
        self._worker = worker
        self._resources = resources

    def next_trial(self) -> SearchTrial | None:
        """The next trial; None if there is none now."""
        if self.is_finished():
            return None
        trial_id = SearchTrial.generate_id()
        config = self._searcher.suggest(trial_id)
        if config is None or isinstance(config, str):  # `Searcher.FINISHED` is one
            return None
        return SearchTrial(
            self._worker,
            trial_id=trial_id,
            config=config,
            storage=self._experiment.storage,
            placement_group_factory=self._resources(config),
        )

    def is_finished(self) -> bool:
        """Asked by Ray Tune and by schedulers: whether no more trials come, as far as can be told."""
        return bool(super().is_finished()) or self._searcher.is_finished()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The searcher hears it."""
        self._searcher.on_trial_complete(trial_id, result=result, error=error)
