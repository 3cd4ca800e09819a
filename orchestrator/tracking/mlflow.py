"""MLflow: an experiment a search, a run a trial, by Ray Tune's `MLflowLoggerCallback`.

The callback makes the runs and ends them. It would send each parameter and each number in a request of its own, more
than sixty a trial and ten an epoch, and with the time at which it is sent; here a trial's parameters are one request,
and an epoch's numbers another. What is there already is asked of MLflow, so that a run goes on with what it lacks.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, final

from orchestrator.record import EpochDone
from orchestrator.tracking.tracked_trial import FAILED, LATENCY, TrackedTrial, result_of

RUN = "cellscout.run"
"""Tag: of which search the run is."""
STATUS = "status"
"""Tag: how the trial ended. MLflow's own status of a run knows neither `pruned` nor `diverged`."""

PARAMS_AT_ONCE = 100
"""MLflow's limit."""


@final
class Mlflow:
    """Runs of the trials of one search.

    Args:
        callback: Ray Tune's, set up.
        client: an `MlflowClient` of the same server.
        key: of the search, its value of the tag `RUN`.
    """

    def __init__(self, callback: Any, client: Any, key: str) -> None:
        self._callback = callback
        self._client = client
        runs = list(self._search(f"tags.`{RUN}` = '{key}'"))
        self._run_ids: dict[str, str] = {run.info.run_name: run.info.run_id for run in runs}
        self.complete = {run.info.run_name for run in runs if STATUS in run.data.tags}
        self._open: set[str] = set()

    def begin(self, trial: TrackedTrial) -> None:
        known = self._run_ids.get(trial.name)
        if known is not None:
            # There is no other way to let the callback go on with a run that it did not make.
            self._callback._trial_runs[trial] = known
            self._client.update_run(known, status="RUNNING")
        self._callback.log_trial_start(replace(trial, config={}))  # the parameters go in one request
        run_id = self._run_ids[trial.name] = self._callback._trial_runs[trial]
        self._open.add(trial.name)
        self._log_params(run_id, trial.config)
        there = self._points(run_id, trial) if known is not None else set()
        for row in trial.curve:
            self._log_epoch(run_id, row, there)

    def epoch(self, trial: TrackedTrial, row: EpochDone) -> None:
        self._log_epoch(self._run_ids[trial.name], row, set())

    def end(self, trial: TrackedTrial) -> None:
        if trial.status is None:  # its run stays open
            return
        if LATENCY in trial.config:
            self._log_params(self._run_ids[trial.name], {LATENCY: trial.config[LATENCY]})
        self._callback.log_trial_end(trial, failed=trial.status in FAILED)
        self._client.set_tag(self._run_ids[trial.name], STATUS, trial.status)
        self._open.remove(trial.name)
        self.complete.add(trial.name)
        del self._callback._trial_runs[trial]  # it would keep all to the end

    def leave(self) -> None:
        """The search is over; what has not ended runs no more."""
        for name in self._open:
            self._client.set_terminated(self._run_ids[name], status="KILLED")

    def _log_params(self, run_id: str, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in config.items()]
        for first in range(0, len(params), PARAMS_AT_ONCE):
            self._client.log_batch(run_id, params=params[first : first + PARAMS_AT_ONCE])

    def _log_epoch(self, run_id: str, row: EpochDone, there: Collection[tuple[str, int]]) -> None:
        """What the run lacks of an epoch, with the time at which that ended."""
        from mlflow.entities import Metric

        ended_at = round(row.time.timestamp() * 1000)
        values = {name: x for name, x in result_of(row).items() if (name, row.epoch) not in there}
        self._client.log_batch(run_id, [Metric(name, float(x), ended_at, row.epoch) for name, x in values.items()])

    def _points(self, run_id: str, trial: TrackedTrial) -> set[tuple[str, int]]:
        """What a run has, as metric and epoch. A process that was killed may have left half of an epoch there."""
        names = {name for row in trial.curve for name in result_of(row)}
        return {(name, point.step) for name in names for point in self._client.get_metric_history(run_id, name)}

    def _search(self, filter_string: str) -> Iterator[Any]:
        experiment, token = [self._callback.mlflow_util.experiment_id], None
        while True:
            page = self._client.search_runs(experiment, filter_string, page_token=token)
            yield from page
            if not (token := page.token):
                return


@contextlib.contextmanager
def mlflow(tracking_uri: str, experiment: str, key: str) -> Iterator[Mlflow]:
    """Writes into the experiment of this name, which is made if it is not there."""
    from mlflow.tracking import MlflowClient
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # a new database is told of at length
    callback = MLflowLoggerCallback(tracking_uri, experiment_name=experiment, tags={RUN: key})
    callback.setup()
    tracker = Mlflow(callback, MlflowClient(tracking_uri=tracking_uri), key)
    try:
        yield tracker
    finally:
        tracker.leave()
