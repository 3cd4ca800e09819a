"""MLflow: an experiment per search, a run per trial, through MLflow's own client.

A trial's parameters are one request and an epoch's metrics are another, with the time at which the epoch ended. The
tracker first asks MLflow what it already has, so that a resumed search only adds what is missing.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any, final

from orchestrator.record import EpochDone
from orchestrator.tracking.tracked_trial import FAILED, LATENCY, TrackedTrial, result_of

RUN = "cellscout.run"
"""Tag: the key of the search that the run belongs to."""
STATUS = "status"
"""Tag: how the trial ended. MLflow's own run status has no `pruned` and no `diverged`."""

REFUSED = (401, 403)
"""HTTP's statuses of a request without the right to be answered."""

MAX_PARAMS = 100
"""Parameters in one request: MLflow's limit."""


@final
class Mlflow:
    """Writes the trials of one search as runs of one experiment.

    Args:
        client: an `MlflowClient`.
        experiment_id: the experiment that holds the runs.
        key: identifies the search: the value of the tag `RUN`.
    """

    def __init__(self, client: Any, experiment_id: str, key: str) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._key = key
        runs = list(self._search(f"tags.`{RUN}` = '{key}'"))
        self._run_ids: dict[str, str] = {run.info.run_name: run.info.run_id for run in runs}
        self.complete = {run.info.run_name for run in runs if STATUS in run.data.tags}
        self._open: set[str] = set()

    def begin(self, trial: TrackedTrial) -> None:
        """Create the trial's run, or reopen it and add the epochs that it lacks."""
        run_id = self._run_ids.get(trial.name)
        if run_id is None:
            run = self._client.create_run(self._experiment_id, tags={RUN: self._key}, run_name=trial.name)
            run_id = self._run_ids[trial.name] = run.info.run_id
            present: set[tuple[str, int]] = set()
        else:
            self._client.update_run(run_id, status="RUNNING")
            present = self._points(run_id, trial)
        self._open.add(trial.name)
        # The latency is measured again if the trial continues on another worker, and a parameter cannot change.
        self._log_params(run_id, {name: value for name, value in trial.config.items() if name != LATENCY})
        for row in trial.curve:
            self._log_epoch(run_id, row, present)

    def epoch(self, trial: TrackedTrial, row: EpochDone) -> None:
        """Log the metrics of one epoch."""
        self._log_epoch(self._run_ids[trial.name], row, set())

    def end(self, trial: TrackedTrial) -> None:
        """Terminate the run of an ended trial; the run of a paused one stays open."""
        if trial.status is None:
            return
        run_id = self._run_ids[trial.name]
        if LATENCY in trial.config:
            self._log_params(run_id, {LATENCY: trial.config[LATENCY]})
        self._client.set_terminated(run_id, status="FAILED" if trial.status in FAILED else "FINISHED")
        self._client.set_tag(run_id, STATUS, trial.status)
        self._open.remove(trial.name)
        self.complete.add(trial.name)

    def close(self) -> None:
        """Mark the runs of trials that have not ended as killed: the search is over."""
        for name in self._open:
            self._client.set_terminated(self._run_ids[name], status="KILLED")

    def _log_params(self, run_id: str, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in config.items()]
        for first in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(run_id, params=params[first : first + MAX_PARAMS])

    def _log_epoch(self, run_id: str, row: EpochDone, present: Collection[tuple[str, int]]) -> None:
        """Log the metrics of an epoch that are not `present` yet, with the time at which the epoch ended."""
        from mlflow.entities import Metric

        ended_at = round(row.time.timestamp() * 1000)
        values = {name: x for name, x in result_of(row).items() if (name, row.epoch) not in present}
        self._client.log_batch(run_id, [Metric(name, float(x), ended_at, row.epoch) for name, x in values.items()])

    def _points(self, run_id: str, trial: TrackedTrial) -> set[tuple[str, int]]:
        """The (metric, epoch) pairs that a run has.

        A process that was killed may have logged only some metrics of an epoch.
        """
        names = {name for row in trial.curve for name in result_of(row)}
        return {(name, point.step) for name in names for point in self._client.get_metric_history(run_id, name)}

    def _search(self, filter_string: str) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment_id], filter_string, page_token=token)
            yield from page
            if not (token := page.token):
                return


@contextlib.contextmanager
def mlflow(tracking_uri: str, experiment: str, key: str) -> Iterator[Mlflow]:
    """Write into the experiment of this name; create it if it does not exist.

    Raises:
        RuntimeError: MLflow or its server reports an error; says in one line which, and what to set.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs many lines when it creates a database
    client = MlflowClient(tracking_uri=tracking_uri)
    try:
        found = client.get_experiment_by_name(experiment)
        tracker = Mlflow(client, client.create_experiment(experiment) if found is None else found.experiment_id, key)
        try:
            yield tracker
        finally:
            tracker.close()
    except MlflowException as error:
        raise RuntimeError(_explain(error)) from error


def _explain(error: Any) -> str:
    """Return the reason of an `MlflowException` without the page that a server may have sent."""
    reason = str(error).partition(" Response body")[0].strip().partition("\n")[0]
    if error.get_http_status_code() in REFUSED:
        return f"{reason}; set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return reason
