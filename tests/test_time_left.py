"""The error of the estimated time left, on searches simulated with known curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from statistics import mean
from typing import Any

import numpy as np
import pytest
from ray.tune.search import Searcher

from orchestrator.config.components import make_scheduler
from orchestrator.config.search_config import SchedulerSettings
from orchestrator.progress.time_left import seconds_left
from orchestrator.record.events import EpochDone, Event, RunResumed
from orchestrator.record.run_state import RunState
from orchestrator.simulation.controller import Row, simulate
from tests.builders import RUN, at
from tests.virtual_records import record_of

TRIALS, EPOCHS = 100, 27
MOMENTS = (0.25, 0.5, 0.75)


class Numbers(Searcher):
    """Suggests 0, 1, 2, ..."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self._next += 1
        return {"x": self._next - 1}

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        pass


def curves(seed: int) -> Callable[[dict[str, Any]], Sequence[Row]]:
    """Return curves of candidates that differ in final score and, by a factor of about 5, in seconds per epoch."""
    generator = np.random.default_rng(seed)
    limits = generator.normal(0.8, 0.05, TRIALS)
    seconds = np.exp(generator.normal(1.0, 0.4, TRIALS))
    noise = generator.normal(0.0, 0.015, (TRIALS, EPOCHS))

    def curve(config: dict[str, Any]) -> list[Row]:
        place = config["x"]
        scores = limits[place] - 0.4 / np.arange(2, EPOCHS + 2) + noise[place]
        return [
            Row(epoch=epoch, seconds=float(seconds[place]), metrics={"val_accuracy": float(score)})
            for epoch, score in enumerate(scores, start=1)
        ]

    return curve


def simulated(name: str, slots: int, seed: int) -> tuple[list[Event], float, tuple[int, ...] | None]:
    """Return a record, the seconds that the search took, and the milestones."""
    scheduler = make_scheduler(SchedulerSettings(name=name), EPOCHS, {"val_accuracy": "maximize"})
    run = simulate(Numbers(), scheduler, curves(seed), workers=slots, trials=TRIALS)
    return record_of(run, slots), run.seconds, getattr(scheduler, "milestones", None)


def up_to(events: list[Event], seconds: float) -> RunState:
    return RunState.replay(event for event in events if event.time <= at(seconds))


@pytest.mark.parametrize("slots", [1, 4, 16])
@pytest.mark.parametrize(
    ("name", "bounds"),
    [("fifo", (0.1, 0.1, 0.1)), ("asha", (0.25, 0.2, 0.12)), ("asha_promotion", (0.2, 0.15, 0.1))],
)
def test_the_estimate_is_off_by_a_small_fraction_of_the_whole_time(
    name: str, bounds: tuple[float, ...], slots: int
) -> None:
    errors: dict[float, list[float]] = {moment: [] for moment in MOMENTS}
    for seed in range(8):
        events, seconds, milestones = simulated(name, slots, seed)
        for moment in MOMENTS:
            found = seconds_left(
                up_to(events, moment * seconds),
                trials=TRIALS,
                epochs=EPOCHS,
                milestones=milestones,
                at=at(moment * seconds),
            )
            if found is not None:
                errors[moment].append(abs(found - (1 - moment) * seconds) / seconds)
    assert len(errors[0.25]) >= 5  # in the others fewer than a tenth of the trials have ended
    assert len(errors[0.75]) == 8
    assert all(mean(errors[moment]) < bound for moment, bound in zip(MOMENTS, bounds, strict=True)), errors


def test_there_is_no_estimate_before_a_tenth_of_the_trials_have_ended() -> None:
    events, seconds, milestones = simulated("asha", 4, 0)
    assert (
        seconds_left(
            up_to(events, 0.01 * seconds), trials=TRIALS, epochs=EPOCHS, milestones=milestones, at=at(0.01 * seconds)
        )
        is None
    )
    assert seconds_left(RunState(), trials=TRIALS, epochs=EPOCHS, milestones=milestones, at=at(0)) is None


def test_a_resume_changes_the_estimate_by_its_slots_only() -> None:
    events, seconds, milestones = simulated("asha", 4, 0)
    half = 0.5 * seconds
    state = up_to(events, half)
    before = seconds_left(state, trials=TRIALS, epochs=EPOCHS, milestones=milestones, at=at(half))
    days = at(half) + timedelta(days=3)
    for slots, low, high in ((4, 0.9, 1.1), (8, 0.4, 0.8)):
        state.apply(RunResumed(time=days, slots=slots))
        after = seconds_left(state, trials=TRIALS, epochs=EPOCHS, milestones=milestones, at=days)
        assert before is not None
        assert after is not None
        assert low < after / before < high


def test_epochs_of_zero_seconds_are_estimated() -> None:
    state = RunState.replay(
        event.model_copy(update={"seconds": 0.0}) if isinstance(event, EpochDone) else event for event in RUN
    )
    assert state.session_started_at is not None
    for seconds in (-5, 0, 100):
        assert (
            seconds_left(
                state, trials=10, epochs=3, milestones=(1, 2), at=state.session_started_at + timedelta(seconds=seconds)
            )
            == 0.0
        )
