"""A loop of one's own and the driver that trains what it submits: in two threads, on a virtual clock, without Ray."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import SearchError
from orchestrator.record.event_log import EventLog, read_events
from orchestrator.record.events import Event, RunResumed, RunStarted
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.schedulers import SCHEDULERS
from orchestrator.search.driver import Driver
from orchestrator.search.submissions import CandidateResult, Submissions
from orchestrator.simulation.controller import Row, simulate
from orchestrator.simulation.simulated_search import BlockingSearcher
from orchestrator.study.distributions import to_distributions, write_distributions
from tests.driving import PARAMS, SWAPPED, TINY, plan_of
from tests.records import check_ends
from tests.virtual_records import report
from trainables.assignment import Assignment
from trainables.instant_trainable import made_up_limit, made_up_result
from trainables.storage import Folder


def started(constraints: dict[str, float] | None = None) -> RunStarted:
    return RunStarted(
        slots=2,
        objectives={"val_accuracy": "maximize"},
        constraints=constraints or {},
        distributions=write_distributions(to_distributions(TINY.param_space())),
    )


def remaining_epochs(config: dict[str, Any]) -> list[Row]:
    """The epochs that are not on record, each as a worker reports it."""
    assignment, params = Assignment.from_config(config)
    limit = made_up_limit(TINY.decode(params))
    return [report(asdict(made_up_result(limit, epoch))) for epoch in range(assignment.epochs_on_record + 1, 10)]


def train_all(driver: Driver) -> None:
    scheduler = driver._scheduler
    simulate(
        BlockingSearcher(driver.searcher),
        scheduler,
        remaining_epochs,
        workers=2,
        seconds=1e9,
        callbacks=[driver.recorder],
    )


@contextmanager
def driven(
    folder: Path, before: Sequence[Event] = (), *, first: Event | None = None, budget: int | None = None
) -> Iterator[tuple[Submissions, Driver, RunState]]:
    """A driver that goes on from the events `before`."""
    state = RunState.replay(before)
    with EventLog.reopen(Folder.at(folder), [state.apply]) as log:
        log.append(first or (RunResumed(slots=2) if before else started()))
        submissions = Submissions(state)
        with Driver(
            log,
            state=state,
            plan=plan_of(TINY),
            directory=RunDirectory.at("unused"),
            source=submissions,
            scheduler=SCHEDULERS["asha"](max_epochs=9, objectives={"val_accuracy": "maximize"}),
            budget=budget,
        ) as driver:
            log.listen(*driver.listeners)
            if before:
                driver.resume()
            yield submissions, driver, state


@contextmanager
def trained(folder: Path, work: Callable[[Driver], None] = train_all, **settings: Any) -> Iterator[Submissions]:
    """Submissions that a driver trains in another thread, until the context closes them."""
    ready: Future[Submissions] = Future()

    def drive() -> None:
        try:
            with driven(folder, **settings) as (submissions, driver, _):
                ready.set_result(submissions)
                work(driver)
                driver.finish()
        except Exception as error:  # noqa: BLE001 (as the pool does)
            ready.result().end(error)

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        yield ready.result(timeout=20)
    finally:
        ready.result().close()
        thread.join(timeout=20)
        assert not thread.is_alive()


def drawn(generator: np.random.Generator) -> dict[str, Any]:
    return dict(TINY.encode(TINY.sample(generator)))


def test_a_loop_gets_each_result_once_and_submits_on(tmp_path: Path, generator: np.random.Generator) -> None:
    with trained(tmp_path) as submissions:
        futures = [submissions.submit(drawn(generator)) for _ in range(4)]
        seen: list[CandidateResult] = []
        for result in submissions.results():
            seen.append(result)
            if len(futures) < 30:
                futures.append(submissions.submit(drawn(generator)))
        assert len(seen) == 30
        assert seen == submissions.history()
        assert list(submissions.results()) == []
        assert [future.result() for future in futures] == sorted(seen, key=lambda result: result.trial.trial_id)
    events = list(read_events(Folder.at(tmp_path)))
    check_ends(events)
    assert {"completed", "pruned"} <= {result.trial.status for result in seen}
    assert [result.architecture.fingerprint for result in seen] == [result.trial.fingerprint for result in seen]


def test_what_is_known_is_answered_and_what_breaks_a_constraint_is_not_trained(tmp_path: Path) -> None:
    costs = plan_of(TINY).costs(TINY.decode(PARAMS))
    with trained(tmp_path, first=started({"parameters": costs["parameters"]})) as submissions:
        first, again, large = (submissions.submit(dict(params)) for params in (PARAMS, PARAMS, SWAPPED))
        assert first.result(20).trial.status == "completed"
        known = again.result(20).trial
        assert (known.status, known.duplicate_of, known.curve) == ("duplicate", "00000", first.result().trial.curve)
        refused = large.result(20).trial
        assert (refused.status, refused.attempt) == ("infeasible", 0)
        assert "above the constraint" in str(refused.error)


def test_the_budget_ends_the_run_and_cancels_what_is_left(tmp_path: Path, generator: np.random.Generator) -> None:
    with trained(tmp_path, budget=3) as submissions:
        futures = [submissions.submit(drawn(generator)) for _ in range(10)]
        ended = [result.trial.status for result in submissions.results()]
        assert sum(status in ("completed", "pruned") for status in ended) == 3
        assert [future.cancelled() for future in futures] == [False] * len(ended) + [True] * (10 - len(ended))
        assert submissions.submit(drawn(generator)).cancelled()
    state = RunState.replay(read_events(Folder.at(tmp_path)))
    assert len(state.trials) == len(ended)  # what was cancelled is not on record


def test_a_submission_is_on_record_before_a_worker_is_free(tmp_path: Path, generator: np.random.Generator) -> None:
    """So that a kill does not lose it, and that the run that goes on trains it."""
    with driven(tmp_path) as (submissions, driver, state):
        for _ in range(20):
            submissions.submit(drawn(generator))
        assert not driver.searcher.is_finished()
        assert len(state.trials) == 20
    before = list(read_events(Folder.at(tmp_path)))
    with trained(tmp_path, before=before) as submissions:
        assert len(list(submissions.results())) == 20
        submissions.submit(drawn(generator)).result(20)
    check_ends(list(read_events(Folder.at(tmp_path))))
    with driven(tmp_path, list(read_events(Folder.at(tmp_path)))) as (submissions, _, state):
        assert len(submissions.history()) == 21
        assert list(submissions.results()) == []
        ends = [result.trial.end_place for result in submissions.history()]
        assert ends == sorted(end for end in ends if end is not None)


def test_a_future_may_be_cancelled_while_it_waits(tmp_path: Path) -> None:
    with driven(tmp_path) as (submissions, driver, state):
        assert submissions.submit(dict(PARAMS)).cancel()
        kept = submissions.submit(dict(SWAPPED))
        driver.searcher.is_finished()
        assert [trial.params for trial in state.trials.values()] == [SWAPPED]
        assert not kept.cancel()
    with pytest.raises(CancelledError, match="the run ended before this trial did"):
        kept.result()


def test_a_run_that_cannot_continue_tells_the_loop_why(tmp_path: Path) -> None:
    def fail(driver: Driver) -> None:
        raise SearchError("the disk is full")

    with trained(tmp_path, fail) as submissions:
        for _ in range(2):  # the first may be submitted before the failure
            with pytest.raises(SearchError, match="the disk is full"):
                submissions.submit(dict(PARAMS)).result(20)
        with pytest.raises(SearchError, match="the disk is full"):
            list(submissions.results())
