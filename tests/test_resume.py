"""Resumes a search from any point of its record, with the whole driver on a virtual clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, final

import numpy as np
import pytest
from optuna.samplers import BaseSampler

from orchestrator.objectives import Direction
from orchestrator.record.event_log import EventLog
from orchestrator.record.events import EVENT, CandidatesQueued, Event, RunResumed, RunStarted, TrialPaused
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.record.trial import Trial
from orchestrator.samplers import SAMPLERS
from orchestrator.schedulers import SCHEDULERS
from orchestrator.schedulers.asha_promotion import FINALISTS
from orchestrator.schedulers.brackets import Brackets
from orchestrator.search.driver import Driver
from orchestrator.simulation.controller import Row, simulate
from orchestrator.simulation.simulated_search import BlockingSearcher
from orchestrator.study.distributions import to_distributions, write_distributions
from orchestrator.study.live_study import LiveStudy, count_known_when_asked
from search_spaces import NASNET, Architecture
from tests.driving import plan_of
from tests.records import check_ends, check_promotions, check_stops, seen
from tests.virtual_records import report
from trainables.assignment import Assignment
from trainables.instant_trainable import made_up_limit, made_up_result

SPACE = replace(NASNET, blocks=2)
DISTRIBUTIONS = to_distributions(SPACE.param_space())
OBJECTIVES: dict[str, Direction] = {"val_accuracy": "maximize"}
STARTED = RunStarted(slots=1, objectives=OBJECTIVES, constraints={}, distributions=write_distributions(DISTRIBUTIONS))
TRIALS = 14
QUEUED = [SPACE.encode(SPACE.sample(np.random.default_rng(seed))) for seed in (1, 2, 1, 3)]
"""The third is answered from the record."""
BEGUN: list[Event] = [STARTED, CandidatesQueued(params=QUEUED)]


@pytest.fixture(params=["asha", "asha_promotion", "pasha", "cut", "hyperband", "median", "fifo"])
def scheduler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@final
class MemoryWriter:
    """A writer that keeps each append to a log in memory as one piece, written completely or not at all."""

    location = "memory"

    def __init__(self) -> None:
        self.pieces: list[list[Event]] = []

    def write(self, lines: bytes, *, at_once: bool) -> None:
        self.pieces.append([EVENT.validate_json(line) for line in lines.splitlines()])

    def close(self) -> None:
        pass

    def events(self, count: int | None = None) -> list[Event]:
        """Return the events of all pieces, or of the first `count`."""
        return [event for piece in self.pieces[:count] for event in piece]


def remaining_epochs(config: dict[str, Any]) -> list[Row]:
    """Return the epochs that are not on record, each as a worker reports it."""
    assignment, params = Assignment.from_config(config)
    limit = made_up_limit(SPACE.decode(params))
    return [report(asdict(made_up_result(limit, epoch))) for epoch in range(assignment.epochs_on_record + 1, 10)]


def limit_of(trial: Trial) -> float:
    return made_up_limit(Architecture.from_json(trial.architecture))


def continued(
    before: Sequence[Event], scheduler: str, workers: int = 1, sampler: BaseSampler | None = None
) -> MemoryWriter:
    """Return what a search writes if it continues from the record `before` to its end."""
    sampler = sampler or SAMPLERS["tpe"](seed=5, n_startup_trials=4)
    known = count_known_when_asked(before)
    state = RunState.replay(before[:known])
    live_study = LiveStudy(sampler, state, DISTRIBUTIONS)
    for event in before[known:]:
        state.apply(event)
        live_study.apply(event)
    written = MemoryWriter()
    decides = SCHEDULERS[scheduler](max_epochs=9, objectives=OBJECTIVES)
    with (
        EventLog(written, [state.apply]) as log,
        Driver(
            log,
            state=state,
            plan=plan_of(SPACE),
            directory=RunDirectory.at("unused"),
            source=live_study,
            scheduler=decides,
            budget=TRIALS,
        ) as driver,
    ):
        log.append(RunResumed(slots=workers))
        log.listen(*driver.listeners)
        driver.resume()
        simulate(
            BlockingSearcher(driver.searcher),
            decides,
            remaining_epochs,
            workers=workers,
            seconds=1e9,
            callbacks=[driver.recorder],
        )
        driver.candidates.give_up()
    return written


def test_with_one_worker_a_search_finds_the_same_wherever_it_was_cut(scheduler: str) -> None:
    whole = continued(BEGUN, scheduler)
    found = seen(RunState.replay([*BEGUN, *whole.events()]))
    assert len(found) >= TRIALS
    for count in range(0, len(whole.pieces), 5):
        before = [*BEGUN, *whole.events(count)]
        after = continued(before, scheduler)
        events = [*before, *after.events()]
        assert seen(RunState.replay(events)) == found
        check_ends(events)


@pytest.mark.parametrize("scheduler", ["asha_promotion", "pasha", "cut"])
def test_a_pause_that_a_kill_kept_from_the_record_changes_no_proposal(scheduler: str) -> None:
    """Evolution learns from a paused trial, so a resume must record the pause before it asks for the next candidate."""

    def sampler() -> BaseSampler:
        return SAMPLERS["evolution"](seed=5, population=3)

    whole = continued(BEGUN, scheduler, sampler=sampler())
    found = seen(RunState.replay([*BEGUN, *whole.events()]))
    cuts = [count for count, piece in enumerate(whole.pieces) if isinstance(piece[0], TrialPaused)]
    assert len(cuts) >= TRIALS // 2
    for count in cuts:
        before = [*BEGUN, *whole.events(count)]
        after = continued(before, scheduler, sampler=sampler())
        assert seen(RunState.replay([*before, *after.events()])) == found


@pytest.mark.parametrize("workers", [2, 5])
def test_with_several_workers_a_search_loses_and_repeats_nothing_however_often_it_was_cut(
    scheduler: str, workers: int
) -> None:
    for seed in range(5):
        cuts = np.random.default_rng(seed)
        events = list(BEGUN)
        for _ in range(3):
            after = continued(events, scheduler, workers)
            events += after.events(int(cuts.integers(1, 25)))
        events += continued(events, scheduler, workers).events()
        state = RunState.replay(events)
        assert [trial.params for trial in list(state.trials.values())[: len(QUEUED)]] == QUEUED
        assert state.queued == []
        assert sum(found.attempt > 0 for found in state.trials.values()) == TRIALS
        check_ends(events)
        match scheduler:
            case "asha":
                check_stops(events)
            case "asha_promotion":
                check_promotions(events)
            case "pasha":  # the curves never cross, so the second rung stays the largest until the end
                past = sorted((found for found in state.trials.values() if found.epochs > 3), key=limit_of)
                assert 1 <= len(past) <= FINALISTS
                assert {found.epochs for found in past} == {9}
                assert past[-1] is max(state.trials.values(), key=limit_of)
            case "cut":
                assert {found.epochs for found in state.trials.values() if found.attempt > 0} == {1, 9}
                assert sum(found.epochs == 9 for found in state.trials.values()) >= TRIALS // 3
            case "hyperband":  # a trial ends in its bracket, which follows from the number of trials before it
                brackets = Brackets(max_epochs=9, min_epochs=1, reduction_factor=3, brackets=None, objectives=1)
                for trial_id, found in state.trials.items():
                    assert found.attempt == 0 or found.epochs in {*brackets.admit(trial_id), 9}
                assert max(state.trials.values(), key=limit_of).epochs == 9  # the curves never cross
