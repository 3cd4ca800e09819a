"""Records of simulated searches: what their event logs would say, by the virtual clock, and a trial's report."""

from __future__ import annotations

from typing import Any

from orchestrator.record.events import (
    Event,
    RunStarted,
    TrialEnded,
    TrialPaused,
    TrialStarted,
    TrialStatus,
    TrialSuggested,
)
from orchestrator.simulation.controller import Row, Simulation
from tests.builders import at, epoch


def record_of(simulation: Simulation, slots: int) -> list[Event]:
    """The events, in their order."""
    trials = {trial.trial_id: trial for trial in simulation.trials}
    known = dict.fromkeys(trials, 0)
    events: list[Event] = [
        RunStarted(time=at(0), slots=slots, objectives={"val_accuracy": "maximize"}, constraints={}, distributions={})
    ]
    for happened in simulation.events:
        name, time = happened.trial_id, at(happened.seconds)
        match happened.kind:
            case "suggested":
                events.append(
                    TrialSuggested(
                        time=time,
                        trial_id=name,
                        number=int(name),
                        params={},
                        architecture={},
                        fingerprint=name,
                        costs={"parameters": 1, "macs": 1},
                        ask_seconds=0.0,
                    )
                )
            case "started":
                events.append(TrialStarted(time=time, trial_id=name, attempt=1))
            case "reported":
                rows = trials[name].rows
                assert rows is not None
                new = rows[known[name] : happened.epoch]
                events += [
                    epoch(name, row.epoch, row.metrics["val_accuracy"], row.seconds).model_copy(update={"time": time})
                    for row in new
                ]
                known[name] = happened.epoch
            case "paused":
                events.append(TrialPaused(time=time, trial_id=name))
            case "stopped" | "ended" | "failed":
                ends: dict[str, TrialStatus] = {"stopped": "pruned", "ended": "completed", "failed": "failed"}
                events.append(TrialEnded(time=time, trial_id=name, status=ends[happened.kind]))
    return events


def report(result: dict[str, Any]) -> Row:
    facts: dict[str, Any] = {"facts": {"device": "none"}, "hostname": "here", "curve": [result], "diverged": False}
    return Row(epoch=result["epoch"], seconds=1.0, metrics={**result, **facts})
