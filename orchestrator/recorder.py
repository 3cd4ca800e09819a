"""Ray Tune's callbacks -> events. The only writer of a run's event log and of its best network."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from ray import cloudpickle, tune
from ray.tune.experiment import Trial as TuneTrial

from orchestrator.errors import SearchError
from orchestrator.event_log import EventLog
from orchestrator.events import EpochDone, Event, TrialBuilt, TrialEnded, TrialPaused, TrialStarted, TrialStatus
from orchestrator.run_directory import RunDirectory
from orchestrator.run_state import RunState
from search_spaces import Architecture
from trainables import TrialPlan
from trainables.storage import reason


@final
class Recorder(tune.Callback):
    """Records what happens to each trial, under the id that `assign` was told.

    `state` must be a listener of `log`: the recorder reads from it which trial is the best. `on_failure` is called with
    an exception that keeps it from recording, because Ray Tune may catch it and go on.
    """

    def __init__(
        self,
        log: EventLog,
        state: RunState,
        plan: TrialPlan,
        directory: RunDirectory,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._on_failure = on_failure
        self._log = log
        self._state = state
        self._plan = plan
        self._directory = directory
        self._trial_ids: dict[str, str] = {}
        self._weights: dict[str, bytes] = {}

    def assign(self, tune_id: str, trial_id: str) -> None:
        """Called by the searcher: Ray Tune knows the trial by this id."""
        self._trial_ids[tune_id] = trial_id

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """A worker is ready for the trial, for the first time or after a pause."""
        trial_id = self._trial_ids[trial.trial_id]
        recorded = self._state.trials[trial_id]
        attempt = recorded.attempt if recorded.paused else recorded.attempt + 1
        self._log.append(TrialStarted(trial_id=trial_id, attempt=attempt))

    def on_trial_save(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """A checkpoint was written, which Ray Tune asks for when the scheduler pauses a trial, and only then."""
        self._log.append(TrialPaused(trial_id=self._trial_ids[trial.trial_id]))

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        """Epochs were trained."""
        trial_id = self._trial_ids[trial.trial_id]
        # Ray Tune would keep the weights with the trial's last result, and copy them.
        weights = result.pop("weights", None)
        if weights is not None:
            self._weights[trial_id] = weights
        events: list[Event] = []
        if self._state.trials[trial_id].node is None:
            events.append(TrialBuilt(trial_id=trial_id, node=result["hostname"], **result["facts"]))
        events += [_epoch_done(trial_id, row) for row in result["curve"]]
        self._log.append(*events)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """The trial ended without an error: by itself, or stopped by the scheduler."""
        with self._telling_failures():
            self._complete(self._trial_ids.pop(trial.trial_id))
        trial.last_result.pop("curve", None)  # Ray Tune keeps the last result of every trial to the end

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """The trial ended with an exception in the worker, or the worker died."""
        trial_id = self._trial_ids.pop(trial.trial_id, None)
        if trial_id is None:  # it had ended, and recording that failed, which Ray Tune takes for the trial's failure
            return
        with self._telling_failures():
            self._end(trial_id, "failed", _reason(trial))

    def _complete(self, trial_id: str) -> None:
        recorded = self._state.trials[trial_id]
        if recorded.diverged:
            self._end(trial_id, "diverged", f"a loss or metric is not finite in epoch {recorded.epochs}")
        elif recorded.epochs >= self._plan.training.epochs:
            self._end(trial_id, "completed")
        else:
            self._end(trial_id, "pruned")

    @contextlib.contextmanager
    def _telling_failures(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._on_failure(error)
            raise

    def _end(self, trial_id: str, status: TrialStatus, error: str | None = None) -> None:
        self._log.append(TrialEnded(trial_id=trial_id, status=status, error=error))
        weights = self._weights.pop(trial_id, None)
        best = self._state.best
        if weights is not None and best is not None and best.trial_id == trial_id:
            spec = self._plan.network_spec(Architecture.from_json(best.architecture))
            try:
                self._directory.write_best(best, spec.to_json(), weights)
            except OSError as error:
                raise SearchError(f"{self._directory.best} cannot be written: {reason(error)} (run.storage)") from error


def _epoch_done(trial_id: str, row: Mapping[str, Any]) -> EpochDone:
    scores = {name: _finite(row[name]) for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")}
    metrics = {name: _finite(value) for name, value in row["metrics"].items()}
    ended_at = datetime.fromtimestamp(row["ended_at"], UTC)
    others = {name: value for name, value in row.items() if name not in (*scores, "metrics", "ended_at")}
    return EpochDone(time=ended_at, trial_id=trial_id, metrics=metrics, **scores, **others)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _reason(trial: TuneTrial) -> str:
    """Type and first line of the exception that ended a trial, as the worker raised it."""
    # `trial.get_error()` looks where Ray Tune copies these files to later.
    if trial.pickled_error_file is None:  # an error of Ray Tune's own
        return Path(trial.error_file).read_text().strip().splitlines()[-1]
    error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    cause = getattr(error, "cause", None) or error
    first_line = next(iter(str(cause).strip().splitlines()), "")
    return f"{type(cause).__name__}: {first_line}" if first_line else type(cause).__name__
