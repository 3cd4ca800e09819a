"""TensorBoard, MLflow and Weights & Biases: what their own readers find after a search."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import parse_config
from orchestrator.errors import ConfigError
from orchestrator.events import Event, EpochDone, TrialPaused, TrialSetBack, TrialStarted
from orchestrator.event_log import read_events
from orchestrator.run_directory import RunDirectory
from orchestrator.run_state import RunState
from orchestrator.tracking import check_tracking, tracked
from tests.driving import Hand, driven
from tests.test_record import epoch
from tests.test_run_directory import info
from trainables.storage import Folder

Points = dict[str, list[tuple[int, float]]]
SCORES = [0.1, 0.5, 0.7]
CURVE = list(enumerate(SCORES, start=1))


@contextmanager
def told(folder: Path, hand: Hand, said: list[str] | None = None, **logging: Any) -> Iterator[None]:
    """Tools hear what the hand does."""
    config = parse_config({"run": {"name": "digits"}, "logging": logging}, "x")
    say = (said if said is not None else []).append
    with tracked(config, RunDirectory.at(folder), info(), hand.state, say) as feeds:
        for feed in feeds:
            hand.log.listen(feed.apply)
        yield
    if said is None:
        assert all(not feed._given_up for feed in feeds)


def admitted(hand: Hand) -> str:
    trial = hand.admit()
    assert trial is not None
    return trial.trial_id


def eventful(hand: Hand) -> dict[str, tuple[str, list[float]]]:
    """Trials of every fate; their status and scores by id."""
    completed, pruned, paused, set_back, failed, diverged = (admitted(hand) for _ in range(6))
    hand.train(hand.state.trials[completed], SCORES)
    hand.log.append(TrialStarted(trial_id=paused, attempt=1), epoch(paused, 1, 0.1), TrialPaused(trial_id=paused))
    hand.train(hand.state.trials[pruned], [0.1], "pruned")
    hand.log.append(TrialStarted(trial_id=set_back, attempt=1), epoch(set_back, 1, 0.1))
    hand.log.append(TrialSetBack(trial_id=set_back, cause="worker_died", reason="gone"))
    ...
    return {}
