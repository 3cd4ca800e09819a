"""What a record says, and what it must hold whatever happened to the search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.record.events import EpochDone, Event, TrialEnded
from orchestrator.record.run_state import RunState
from orchestrator.schedulers.rungs import Rung
from trainables.epoch_result import EpochResult


def seen(state: RunState) -> dict[str, Any]:
    """All that a search found, without what a clock says."""
    return {
        found.trial_id: (found.params, found.status, [(row.epoch, row.val_accuracy) for row in found.curve])
        for found in state.trials.values()
    }


def on_record(events: Sequence[Event]) -> list[tuple[str, int]]:
    """Every epoch that the record has, as `trained` has them."""
    return [(event.trial_id, event.epoch) for event in events if isinstance(event, EpochDone)]


def check_ends(events: Sequence[Event]) -> None:
    """Every trial ended, once, and has each of its epochs once."""
    state = RunState.replay(events)
    ends = [event.trial_id for event in events if isinstance(event, TrialEnded)]
    assert sorted(ends) == sorted(state.trials)
    for found in state.trials.values():
        assert [row.epoch for row in found.curve] == list(range(1, found.epochs + 1))


def check_stops(events: Sequence[Event]) -> None:
    """Check that exactly the trials in the best third of the rung, at the time of their report, went past it."""
    state = RunState.replay(events)
    rungs = {1: Rung(3), 3: Rung(3)}
    for event in events:
        if isinstance(event, EpochDone) and event.epoch in rungs:
            passed = rungs[event.epoch].record(event.trial_id, (event.val_accuracy or 0.0,))
            assert passed == (state.trials[event.trial_id].epochs > event.epoch)


def check_promotions(events: Sequence[Event]) -> None:
    """Check that every trial past a rung was in its best third at some time, and that finally all of that third went
    past it."""
    state = RunState.replay(events)
    rungs = {1: Rung(3), 3: Rung(3)}
    promotable: dict[int, set[str]] = {1: set(), 3: set()}
    for event in events:
        if isinstance(event, EpochDone) and event.epoch in rungs:
            rungs[event.epoch].enter(event.trial_id, (event.val_accuracy or 0.0,))
            promotable[event.epoch] |= set(rungs[event.epoch].promotable())
        if isinstance(event, EpochDone) and event.epoch - 1 in rungs:
            assert event.trial_id in promotable[event.epoch - 1]
    for epoch, rung in rungs.items():
        assert all(state.trials[trial_id].epochs > epoch for trial_id in rung.promotable())


def snapshot(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def facts(result: EpochResult) -> tuple[str, ...]:
    """As text, in which NaN equals NaN."""
    values = (result.epoch, result.train_loss, result.train_accuracy, result.val_loss, result.val_accuracy)
    return tuple(map(repr, values))
