"""Creates Ray Tune's trials from the searcher's suggestions, at a low cost per trial.

Ray Tune's own `SearchGenerator` copies and parses the description of the whole experiment for each trial, and each of
its trials fetches the common trainable from the cluster five times: together more work than the rest of a trial. It
also ends for good once its searcher has finished; here a trial that lost its worker can be suggested again afterwards.
Knows Ray Tune's interface; knows neither Optuna nor the record.
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
    """Suggests what is trained next: the sampler's proposals, a loop's submissions, or a list of trainings."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the worker's configuration of the trial with this Ray Tune id; None or `FINISHED` if there is none."""

    def is_finished(self) -> bool:
        """Whether there is nothing to suggest. False again if a trial loses its worker afterwards."""

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Take note that the trial has left its worker and will not return."""


@final
class SearchTrial(TuneTrial):
    """A trial that holds its trainable and keeps only its last result.

    The overridden methods serve Ray Tune's own tables and snapshots, which are not used.
    """

    def __init__(self, worker: type[tune.Trainable], **settings: Any) -> None:
        self._worker = worker
        # A `stub` does not look up its trainable.
        super().__init__(worker.__name__, stub=True, **settings)
        self.storage.trial_dir_name = self.trial_id
        self.failure: BaseException | None = None
        """What ended the trial: an error in its worker, the worker's death, or an error of Ray Tune itself."""

    def get_trainable_cls(self) -> type[tune.Trainable]:
        """Return the trainable, without a query to the cluster's key-value store."""
        return self._worker

    def init_local_path(self) -> None:
        """Create no folder on the driver, because nothing would be written to it."""

    def handle_error(self, exc: BaseException | None = None) -> None:
        """Keep the error, and write no file. Of a traceback in an error of Ray Tune itself, keep the last line."""
        own = not isinstance(exc, RayError)
        self.failure = RuntimeError((str(exc).strip().splitlines() or ["no reason given"])[-1]) if own else exc

    def should_recover(self) -> bool:
        """Return False: Ray Tune never retries a trial. The searcher suggests the trial again."""
        return False

    def set_ray_actor(self, ray_actor: Any) -> None:
        """Keep the actor. Its first report tells where it runs, so no query is needed."""
        self.temporary_state.ray_actor = ray_actor

    def update_last_result(self, result: dict[str, Any]) -> None:
        """Keep the result, without statistics of each metric."""
        self.run_metadata.last_result = result
        self.run_metadata.last_result_time = time.time()

    def get_json_state(self) -> tuple[str, str]:
        """Return empty objects: a run is rebuilt from its event log."""
        return "{}", "{}"


@final
class TuneTrials(SearchAlgorithm):
    """Turns the searcher's suggestions into trials.

    Args:
        searcher: suggests the parameters of each trial.
        experiment: says where Ray Tune stores its files.
        worker: the trainable.
        resources: returns the resources of a trial with the given parameters.
    """

    def __init__(
        self,
        searcher: TrialSource,
        *,
        experiment: Experiment,
        worker: type[tune.Trainable],
        resources: Callable[[Mapping[str, Any]], tune.PlacementGroupFactory],
    ) -> None:
        self._searcher = searcher
        self._experiment = experiment
        self._worker = worker
        self._resources = resources
        self.is_worker_starting: Callable[[TuneTrial], bool] = lambda trial: False
        """Whether Ray Tune is starting a worker for this trial; for schedulers, which know Ray Tune's controller by its
        public attributes only, as this search algorithm is."""

    def next_trial(self) -> SearchTrial | None:
        """Return the next trial; None if there is none now."""
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
        """Whether no more trials are expected. Ray Tune and schedulers call this."""
        return bool(super().is_finished()) or self._searcher.is_finished()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Forward the result to the searcher."""
        self._searcher.on_trial_complete(trial_id, result=result, error=error)
