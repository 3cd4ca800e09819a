"""What a running retraining shows, read from made-up records."""

from __future__ import annotations

import pytest

from orchestrator.networks.retraining.progress_view import RetrainView
from orchestrator.networks.retraining.record import (
    EpochTrained,
    RetrainEvent,
    RetrainState,
    TrainingBegun,
    TrainingEnded,
)
from tests.faking import Clock
from tests.progress_views import drawn


def epoch(seed: int, number: int, accuracy: float = 0.5, seconds: float = 60.0, held_out: bool = False) -> EpochTrained:
    return EpochTrained(
        seed=seed,
        epoch=number,
        train_loss=1 / number,
        train_accuracy=accuracy,
        val_loss=1.0 if held_out else None,
        val_accuracy=accuracy - 0.1 if held_out else None,
        learning_rate=0.1,
        seconds=seconds,
        images_per_second=1234.5,
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("orchestrator.networks.retraining.progress_view.time", clock)
    return clock


def begun(seed: int) -> TrainingBegun:
    return TrainingBegun(seed=seed, epoch=0, workers=1, compiled=False)


def apply(state: RetrainState, *events: RetrainEvent) -> None:
    for event in events:
        state.apply(event)


def test_it_says_which_network_seed_and_epoch_how_well_how_fast_and_how_long(clock: Clock) -> None:
    view = RetrainView(["best", "resnet18", "vgg11"], 2, 10, held_out=False, is_stopped=lambda: False)
    state = RetrainState()
    view.turn_to("resnet18", state)
    clock.now = 300.0
    apply(state, begun(5), *(epoch(5, number) for number in range(1, 11)), TrainingEnded(seed=5, kept_epoch=10))
    apply(state, begun(6), *(epoch(6, number, 0.1 * number) for number in (1, 2, 3, 4)))
    panel = drawn(view.snapshot())
    assert "2 of 3: resnet18" in panel
    assert "2 of 2: 6" in panel
    assert "4 of 10  ━━━━━━━━━━━━─" in panel
    assert "0.2500  █▃▂▁" in panel
    assert "0.4000  on training images  ▁▃▆█" in panel
    assert "1,234 images/s  60.0 s an epoch" in panel
    assert "about 6 min left, then 1 more network  05:00 elapsed" in panel
    assert {len(line) for line in panel.splitlines()} == {80}
    assert "…" not in panel
    assert view.snapshot().line == (
        "network 2 of 3: resnet18, training 2 of 2, epoch 4 of 10; loss 0.2500, accuracy 0.4000 on training images; "
        "about 6 min left, then 1 more network, 05:00 elapsed"
    )


def test_with_early_stopping_it_says_the_best_epoch_and_at_most_how_long(clock: Clock) -> None:
    view = RetrainView(["best"], 1, 100, held_out=True, is_stopped=lambda: True)
    state = RetrainState()
    view.turn_to("best", state)
    apply(state, begun(0), epoch(0, 1, 0.9, held_out=True), epoch(0, 2, 0.6, held_out=True))
    panel = drawn(view.snapshot())
    assert "0.5000  on validation images  best 0.8000 at epoch 1  █▁" in panel
    assert "stopping after this epoch  at most 1 h 40 min left" in panel


def test_before_the_first_epoch_and_between_two_seeds_nothing_is_made_up(clock: Clock) -> None:
    view = RetrainView(["best"], 2, 10, held_out=False, is_stopped=lambda: False)
    assert "0 of 10" in drawn(view.snapshot())
    assert "left" not in view.snapshot().line
    state = RetrainState()
    view.turn_to("best", state)
    apply(state, begun(0), *(epoch(0, number) for number in range(1, 11)), TrainingEnded(seed=0, kept_epoch=10))
    assert "about 10 min left" in view.snapshot().line
    state.apply(begun(1))
    assert "left" not in view.snapshot().line
    assert "2 of 2: 1" in drawn(view.snapshot())
