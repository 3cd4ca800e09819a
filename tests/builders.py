"""Events, logs, `run.json` and configurations of made-up searches, from which tests build their records."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from orchestrator.config.loading import parse_config
from orchestrator.config.search_config import SearchConfig
from orchestrator.record.event_log import EventLog, Place
from orchestrator.record.events import (
    EpochDone,
    Event,
    RunStarted,
    TrialBuilt,
    TrialEnded,
    TrialStarted,
    TrialStatus,
    TrialSuggested,
    now,
)
from orchestrator.record.run_info import RunInfo
from search_spaces import NASNET_A
from trainables.storage import Folder

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def epoch(trial_id: str, number: int, score: float, seconds: float = 1.0) -> EpochDone:
    return EpochDone(
        time=at(number),
        trial_id=trial_id,
        epoch=number,
        train_loss=1.0,
        train_accuracy=0.5,
        val_loss=None if math.isnan(score) else 1.0,
        val_accuracy=0.0 if math.isnan(score) else score,
        learning_rate=0.1,
        seconds=seconds,
        images_per_second=100.0,
    )


def trial(trial_id: str, scores: list[float], status: TrialStatus, begin: float = 0.0) -> list[Event]:
    events: list[Event] = [
        TrialSuggested(
            time=at(begin),
            trial_id=trial_id,
            number=int(trial_id),
            params={},
            architecture=NASNET_A.to_json(),
            fingerprint=NASNET_A.fingerprint,
            costs={"parameters": 10, "macs": 20, "activation_bytes": 30},
            ask_seconds=0.01,
        ),
        TrialStarted(time=at(begin), trial_id=trial_id, attempt=1),
        TrialBuilt(time=at(begin), trial_id=trial_id, node="here", device="cpu"),
        *(epoch(trial_id, number, score) for number, score in enumerate(scores, start=1)),
    ]
    if status != "running":
        error = "bang" if status == "failed" else None
        events.append(TrialEnded(time=at(begin + 10), trial_id=trial_id, status=status, error=error))
    return events


STARTED = RunStarted(time=at(0), slots=2, objectives={"val_accuracy": "maximize"}, constraints={}, distributions={})
RUN: list[Event] = [
    STARTED,
    *trial("00000", [0.2, 0.6, 0.7], "completed"),
    *trial("00001", [0.5, 0.9, 0.8], "completed"),
    *trial("00002", [0.95], "pruned", begin=5),
    *trial("00003", [math.nan], "diverged"),
    *trial("00004", [], "failed"),
    *trial("00005", [0.3], "running"),
]


def write(place: Place | Path, events: list[Event]) -> None:
    with EventLog.create(Folder.at(place) if isinstance(place, Path) else place) as log:
        log.append(*events)


def info(**values: Any) -> RunInfo:
    return RunInfo(
        **{
            "config": {},
            "seed": 0,
            "state": "running",
            "started_at": now(),
            "command": ["cellscout", "search"],
            "host": "here",
            "pid": 1,
            "versions": {},
            "commit": None,
            "resources": {},
            "data": {"validation": 100},
            **values,
        }
    )


def config(**sections: dict[str, Any]) -> SearchConfig:
    values: dict[str, dict[str, Any]] = {
        "training": {"epochs": 9},
        "trainable": {"name": "instant"},
        "sampler": {"name": "random"},
        "budget": {"trials": 12},
        "confirmation": {"candidates": 0},
    }
    return parse_config({**values, **{name: {**values.get(name, {}), **more} for name, more in sections.items()}}, "x")
