"""When a search must end before its trials do."""

from __future__ import annotations

import signal
import threading

import pytest

from orchestrator.cluster import SearchStopper, saying_on_interrupt, stopping_on_interrupt


def test_hours_are_kept_for_the_confirmation_as_soon_as_there_is_something_to_confirm() -> None:
    fraction = 1.0
    stopper = SearchStopper(hours=1)
    stopper.start_clock(2000, lambda: fraction)
    assert not stopper.stop_all()
    fraction = 0.5
    assert stopper.outcome == "out_of_time"


def test_time_before_the_clock_has_started_does_not_count() -> None:
    assert not SearchStopper(hours=0.0).stop_all()


def test_the_wish_to_stop_is_said_once_while_the_main_thread_is_busy() -> None:
    stopper, said = SearchStopper(hours=None), threading.Event()
    words: list[str] = []

    def say() -> None:
        words.append("stopping")
        said.set()

    with stopping_on_interrupt(stopper), saying_on_interrupt(stopper, say):
        assert words == []
        signal.raise_signal(signal.SIGINT)
        assert said.wait(60)
    assert words == ["stopping"]


def test_nothing_is_said_if_nobody_asks_to_stop() -> None:
    with saying_on_interrupt(SearchStopper(hours=None), lambda: pytest.fail("said")):
        pass


def test_a_closed_terminal_is_left_to_the_system() -> None:
    """It kills a search, or does nothing to one that `nohup` has started."""
    before = signal.getsignal(signal.SIGHUP)
    with stopping_on_interrupt(SearchStopper(hours=None)):
        assert signal.getsignal(signal.SIGHUP) == before
