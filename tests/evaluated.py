"""Searches and their evaluations by hand: events as the recorder would write them, without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.config.loading import load_config
from orchestrator.evaluation.candidates import candidates_of
from orchestrator.evaluation.outcome import Outcome, outcome_of
from orchestrator.objectives import Direction
from orchestrator.record.events import (
    EvaluationPlanned,
    Event,
    RunEnded,
    RunStarted,
    TrialEnded,
    TrialStarted,
    TrialStatus,
    TrialSuggested,
)
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from search_spaces import Architecture
from tests.builders import epoch, info, write
from tests.driving import TINY

FOLDS, SEEDS = 2, [1, 2, 3]

ARCHITECTURES = [TINY.sample(np.random.default_rng(seed)) for seed in range(6)]

ACCURACY: dict[str, Direction] = {"val_accuracy": "maximize"}


def started(objectives: Mapping[str, Direction] = ACCURACY) -> RunStarted:
    return RunStarted(slots=2, objectives=dict(objectives), constraints={}, distributions={})


def costs(architecture: Architecture) -> dict[str, float]:
    return {"parameters": float(ARCHITECTURES.index(architecture) + 1), "macs": 1.0, "activation_bytes": 1.0}


def searched(
    *scores: Sequence[float],
    objectives: Mapping[str, Direction] = ACCURACY,
    status: TrialStatus = "completed",
    first: int = 0,
) -> list[Event]:
    """A search whose trials have these scores by epoch; their architectures are those from `first` on."""
    events: list[Event] = [started(objectives)]
    for number, (curve, architecture) in enumerate(zip(scores, ARCHITECTURES[first:], strict=False)):
        trial_id = f"{number:05d}"
        events += [
            TrialSuggested(
                trial_id=trial_id,
                number=number,
                params=TINY.encode(architecture),
                architecture=architecture.to_json(),
                fingerprint=architecture.fingerprint,
                costs=costs(architecture),
                ask_seconds=0.0,
            ),
            TrialStarted(trial_id=trial_id, attempt=1),
            *(epoch(trial_id, number, score) for number, score in enumerate(curve, start=1)),
            TrialEnded(trial_id=trial_id, status=status),
        ]
    return [*events, RunEnded(outcome="completed")]


def planned(
    search: RunState,
    sample: RunState | None = None,
    objectives: Mapping[str, Direction] = ACCURACY,
    seeds: Sequence[int] = SEEDS,
    folds: int = FOLDS,
) -> RunState:
    best = sorted(search.trials.values(), key=lambda trial: trial.trial_id)
    candidates = candidates_of(best, None if sample is None else sample.best)
    return RunState.replay(
        [started(objectives), EvaluationPlanned(candidates=candidates, folds=folds, seeds=list(seeds))]
    )


def end(state: RunState, number: int, score: float | None, status: TrialStatus = "completed") -> None:
    trial_id = f"{number:05d}"
    state.apply(TrialStarted(trial_id=trial_id, attempt=1))
    if score is not None:
        state.apply(epoch(trial_id, 1, score))
    state.apply(TrialEnded(trial_id=trial_id, status=status, error=None if status == "completed" else "bang"))


SEARCH = searched([0.3, 0.9], [0.2, 0.8], [0.4, 0.7])
"""Three candidates; after the first epoch the third leads."""


def evaluated(
    *scores: Sequence[float | None],
    search: Sequence[Event] = SEARCH,
    sample: Sequence[Event] | None = None,
    objectives: Mapping[str, Direction] = ACCURACY,
    guess: float | None = None,
    seeds: Sequence[int] = SEEDS,
    folds: int = FOLDS,
) -> Outcome:
    """Of candidates with these scores, one for each training; None for one that failed."""
    found = RunState.replay(search)
    drawn = None if sample is None else RunState.replay(sample)
    state = planned(found, drawn, objectives, seeds, folds)
    for training, row in enumerate(zip(*scores, strict=True)):
        for place, score in enumerate(row):
            end(state, training * len(scores) + place, score, "failed" if score is None else "completed")
    return outcome_of(state, searched=found, sample=drawn, rungs=(1,), epochs=2, bounds=(0.0, 1.0), guess=guess)


OFFSETS = (-0.01, 0.01, 0.002, -0.002, 0.005, -0.005)


def around(mean: float, first: int = 0) -> list[float]:
    """Six scores with this mean, the offsets from `first` on; differences of the same `first` do not vary."""
    return [mean + offset for offset in (*OFFSETS[first:], *OFFSETS[:first])]


CLEAR = (around(0.7, 1), around(0.9), around(0.5, 2))
"""The second is by far the best."""


def recorded(folder: Path, events: Sequence[Event], **values: Any) -> RunDirectory:
    directory = RunDirectory.at(folder / "run")
    directory.create(
        info(
            **{
                "state": "completed",
                "config": load_config(None).model_dump(mode="json"),
                "data": {
                    "validation": 100,
                    "image_shape": [8, 8, 1],
                    "classes": ["zero", "one"],
                    "mean": [1.0],
                    "deviation": [1.0],
                },
                **values,
            }
        )
    )
    write(directory, list(events))
    return directory
