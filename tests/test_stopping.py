"""When a search must end before its trials do."""

from __future__ import annotations

from orchestrator.cluster import SearchStopper


def test_hours_are_kept_for_the_confirmation_as_soon_as_there_is_something_to_confirm() -> None:
    fraction = 1.0
    stopper = SearchStopper(hours=1)
    stopper.start_clock(2000, lambda: fraction)
    assert not stopper.stop_all()
    fraction = 0.5
    assert stopper.outcome == "out_of_time"


def test_time_before_the_clock_has_started_does_not_count() -> None:
    assert not SearchStopper(hours=0.0).stop_all()
