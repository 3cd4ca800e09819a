"""Records of searches that never ran: many trials of every kind in a second, with no Ray and no training."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.config.loading import load_config
from orchestrator.objectives import Direction
from orchestrator.record.event_log import EventLog
from orchestrator.record.events import (
    EpochDone,
    Event,
    RunEnded,
    RunStarted,
    TrialEnded,
    TrialPaused,
    TrialSetBack,
    TrialStarted,
    TrialStatus,
    TrialSuggested,
)
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.study.distributions import to_distributions, write_distributions
from search_spaces import NASNET
from tests.builders import at, epoch, info

EPOCH_SECONDS = 2.0
SLOTS = 3


def made_up(
    folder: Path,
    trials: int,
    *,
    epochs: int = 9,
    prune: bool = True,
    objectives: Mapping[str, Direction] | None = None,
    overrides: tuple[str, ...] = (),
    **values: Any,
) -> RunDirectory:
    """The run directory of a search of the NASNet space in three slots, ended unless `values` (of `run.json`) say
    otherwise.

    Trials that are a multiple of 11 fail, of 13 diverge, of 17 break a constraint, of 19 are duplicates of the first.
    """
    config = load_config(None, [f"training.epochs={epochs}", f"budget.trials={trials}", "run.name=made-up", *overrides])
    facts = {"train": 1000, "validation": 400, "test": 300, "image_shape": [8, 8, 1], "classes": ["zero", "one"]}
    directory = RunDirectory.at(folder)
    directory.create(info(**{"config": config.model_dump(mode="json"), "state": "completed", "data": facts, **values}))
    wanted: dict[str, Direction] = dict(objectives or {"val_accuracy": "maximize"})
    with EventLog.create(directory.folder) as log:
        events = _events(trials, epochs, prune, wanted)
        log.append(*events)
        if values.get("state", "completed") != "running":
            log.append(RunEnded(time=events[-1].time + timedelta(seconds=1), outcome="completed"))
    return directory


def state_of(directory: RunDirectory) -> RunState:
    return RecordedRun.read(directory).state()


def _events(trials: int, epochs: int, prune: bool, objectives: dict[str, Direction]) -> list[Event]:
    generator = np.random.default_rng(0)
    space = write_distributions(to_distributions(NASNET.param_space()))
    started = RunStarted(time=at(0), slots=SLOTS, objectives=objectives, constraints={}, distributions=space)
    slots = [0.0] * SLOTS
    events: list[Event] = []
    for number in range(trials):
        begin = heapq.heappop(slots)
        found = list(_trial(number, begin, epochs, prune, generator))
        heapq.heappush(slots, (found[-1].time - at(0)).total_seconds() + 0.2)
        events += found
    return [started, *sorted(events, key=lambda event: event.time)]


def _trial(number: int, begin: float, epochs: int, prune: bool, generator: np.random.Generator) -> Iterator[Event]:
    trial_id = f"{number:05d}"
    architecture = NASNET.sample(generator)
    parameters = int(generator.integers(10_000, 3_000_000))
    yield TrialSuggested(
        time=at(begin),
        trial_id=trial_id,
        number=number,
        params=NASNET.encode(architecture),
        architecture=architecture.to_json(),
        fingerprint=architecture.fingerprint,
        costs={"parameters": parameters, "macs": 150 * parameters, "activation_bytes": 30},
        ask_seconds=0.01,
    )
    if number and number % 17 == 0:
        reason = f"parameters is {parameters:,}, above the constraint 5"
        yield TrialEnded(time=at(begin), trial_id=trial_id, status="infeasible", error=reason)
        return
    if number and number % 19 == 0:
        yield TrialEnded(time=at(begin), trial_id=trial_id, status="duplicate", duplicate_of="00000")
        return
    yield TrialStarted(time=at(begin), trial_id=trial_id, attempt=1)
    quality = 0.5 + 0.4 * generator.random()
    rungs = [rung for rung in (1, 3, 9, 27) if rung < epochs] if prune and number else []
    last = int(next((rung for rung in rungs if generator.random() < 0.6), epochs))
    status: TrialStatus = "completed" if last == epochs else "pruned"
    error = None
    if number and number % 11 == 0:
        last, status, error = 1, "failed", f"out of memory: tried to get {generator.integers(1, 99)}.5 GiB"
    if number and number % 13 == 0:
        last, status = 2, "diverged"
    if number == 1:
        yield TrialPaused(time=at(begin + 0.5), trial_id=trial_id)
        yield TrialStarted(time=at(begin + 1.0), trial_id=trial_id, attempt=1)
        yield TrialSetBack(time=at(begin + 1.5), trial_id=trial_id, cause="worker_died", reason="gone")
        yield TrialStarted(time=at(begin + 1.8), trial_id=trial_id, attempt=2)
    for place in range(1, last + 1):
        score = quality * (1 - math.exp(-place / 3)) + 0.01 * generator.random()
        is_last = status == "diverged" and place == last
        yield _later(epoch(trial_id, place, math.nan if is_last else score, EPOCH_SECONDS), begin)
    end = begin + EPOCH_SECONDS * last + 0.1
    yield TrialEnded(time=at(end), trial_id=trial_id, status=status, error=error)


def _later(row: EpochDone, begin: float) -> EpochDone:
    return row.model_copy(update={"time": at(begin) + timedelta(seconds=EPOCH_SECONDS * row.epoch)})
