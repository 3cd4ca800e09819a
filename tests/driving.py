"""A search without Ray or training: tests append the events that the recorder would write."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from orchestrator.objectives import Direction
from orchestrator.record.event_log import EventLog
from orchestrator.record.events import (
    CandidatesQueued,
    Event,
    RunStarted,
    TrialEnded,
    TrialImported,
    TrialPaused,
    TrialStarted,
    TrialStatus,
)
from orchestrator.record.run_state import RunState
from orchestrator.record.trial import Trial
from orchestrator.schedulers.protocol import AnswersDuplicates
from orchestrator.search.candidates import Candidates
from orchestrator.study.distributions import to_distributions, write_distributions
from orchestrator.study.live_study import LiveStudy, Suggestion, count_known_when_asked
from search_spaces import NASNET, CellSpace
from tests.builders import epoch
from trainables import TrialPlan
from trainables.settings import NetworkSettings, TrainingSettings
from trainables.skeleton import SKELETONS
from trainables.storage import Folder

TINY = replace(NASNET, blocks=1, operations=NASNET.operations[:3], combinations=("add",))
"""A space of 1,296 encodings and 441 networks."""

FOUR = CellSpace(
    name="four", source="this file", operations=("identity", "max_pool_3x3"), blocks=1, inputs=1, shared=True
)
"""A space of four encodings and three networks."""

PARAMS = {name: choices[0] for name, choices in TINY.decisions()}
SWAPPED = {
    **PARAMS,
    "normal.0.left.operation": TINY.operations[1],
    "normal.0.left.state": 1,
}


def plan_of(space: CellSpace = TINY) -> TrialPlan:
    return TrialPlan(
        space=space,
        skeleton=SKELETONS["nasnet_cifar"],
        network=NetworkSettings(repeats=1, filters=4),
        training=TrainingSettings(epochs=9),
        image_shape=(8, 8, 1),
        classes=10,
        milestones=(1, 3),
        seed=0,
        threads=1,
    )


class Hand:
    """A study and its candidates, driven by hand: the test starts and ends the trials."""

    def __init__(self, log: EventLog, state: RunState, live: LiveStudy, candidates: Candidates) -> None:
        self.log, self.state, self.live, self.candidates = log, state, live, candidates

    def take(self) -> Suggestion:
        while (suggestion := self.live.take(wait=True)) is None:
            pass
        return suggestion

    def admit(self, params: Mapping[str, Any] | None = None) -> Trial | None:
        """Admit the next suggestion; with `params`, as if the sampler had proposed them."""
        suggestion = self.take()
        return self.candidates.admit(suggestion if params is None else replace(suggestion, params=dict(params)))

    def last(self) -> Trial:
        return list(self.state.trials.values())[-1]

    def train(self, trial: Trial, scores: list[float], status: TrialStatus = "completed") -> None:
        self.log.append(TrialStarted(trial_id=trial.trial_id, attempt=trial.attempt + 1))
        self.log.append(*(epoch(trial.trial_id, number, score) for number, score in enumerate(scores, start=1)))
        self.log.append(TrialEnded(trial_id=trial.trial_id, status=status))

    def go_on(self, trial: Trial, scores: list[float]) -> None:
        """Start the trial, for the first time or after a pause, and train further epochs."""
        attempt = trial.attempt if trial.paused else trial.attempt + 1
        self.log.append(TrialStarted(trial_id=trial.trial_id, attempt=attempt))
        first = trial.epochs + 1
        self.log.append(*(epoch(trial.trial_id, number, score) for number, score in enumerate(scores, start=first)))

    def pause(self, trial: Trial, scores: list[float]) -> None:
        """Train the trial for further epochs, after which the scheduler pauses it."""
        self.go_on(trial, scores)
        self.log.append(TrialPaused(trial_id=trial.trial_id))

    def end(self, trial: Trial, status: TrialStatus) -> None:
        self.log.append(TrialEnded(trial_id=trial.trial_id, status=status))

    def settled(self) -> optuna.Study:
        """Return the study after it has received all events."""
        deadline = time.monotonic() + 20
        while not self.live._commands.is_idle or not self.live._ready:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return self.live.study


@contextmanager
def driven(
    folder: Path | Folder,
    sampler: BaseSampler | None = None,
    *,
    objectives: Mapping[str, Direction] | None = None,
    constraints: Mapping[str, float] | None = None,
    imported: list[TrialImported] | None = None,
    queued: list[dict[str, Any]] | None = None,
    scheduler: AnswersDuplicates | None = None,
    space: CellSpace = TINY,
    before: list[Event] | None = None,
    budget: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Hand]:
    """Open a search in `folder`; if `before` is given, resume it from these events."""
    state = RunState()
    distributions = to_distributions(space.param_space())
    with EventLog.create(Folder.at(folder) if isinstance(folder, Path) else folder, [state.apply]) as log:
        started = RunStarted(
            slots=2,
            objectives=dict(objectives or {"val_accuracy": "maximize"}),
            constraints=dict(constraints or {}),
            distributions=write_distributions(distributions),
        )
        events = before or [started, *(imported or []), *([CandidatesQueued(params=queued)] if queued else [])]
        known = count_known_when_asked(events)
        log.append(*events[:known])
        with LiveStudy(sampler or RandomSampler(seed=0), state, distributions) as live:
            log.listen(live.apply)
            log.append(*events[known:])
            candidates = Candidates(log, state=state, plan=plan_of(space), scheduler=scheduler, budget=budget, say=say)
            log.listen(candidates.apply)
            if before is not None:
                candidates.requeue()
            yield Hand(log, state, live, candidates)


def new(hand: Hand) -> Trial:
    """The next candidate that is to be trained."""
    while (trial := hand.admit()) is None:
        pass
    return trial


def busy(hand: Hand, trials: int) -> None:
    """A search with every kind of end, two trials at a time."""
    generator = np.random.default_rng(0)
    running = [new(hand), new(hand)]
    for number in range(trials):
        trial = running.pop(int(generator.integers(2)))
        limit = float(generator.uniform(0.3, 0.9))
        match number % 5:
            case 0 | 1:
                hand.train(trial, [limit * epoch / 9 for epoch in range(1, 10)])
            case 2 | 3:
                hand.train(trial, [limit / 9], "pruned")
            case 4:
                hand.train(trial, [limit / 9, math.nan], "diverged" if number % 2 else "failed")
        running.append(new(hand))


def promoting(hand: Hand, trials: int) -> None:
    """A search in which every trial pauses after an epoch; most go on later, then pause again, run or end."""
    generator = np.random.default_rng(0)
    paused: list[Trial] = []
    for number in range(trials):
        trial = new(hand)
        hand.pause(trial, [float(generator.uniform(0.1, 0.5))])
        paused.append(trial)
        if number % 4:
            promoted = paused.pop(int(generator.integers(len(paused))))
            hand.go_on(promoted, [float(generator.uniform(0.5, 0.7))])
            if number % 4 == 1:
                hand.log.append(TrialPaused(trial_id=promoted.trial_id))
                paused.append(promoted)
            elif number % 8 > 4:
                hand.end(promoted, "pruned" if number % 8 == 6 else "completed")


def admitted(hand: Hand, params: dict[str, Any]) -> Trial:
    trial = hand.admit(params)
    assert trial is not None
    return trial


def trial_facts(trial: FrozenTrial) -> dict[str, Any]:
    """All of a trial but the times, which are the events' on replay."""
    names = ("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs")
    return {**{name: getattr(trial, name) for name in names}, "intermediate_values": dict(trial.intermediate_values)}
