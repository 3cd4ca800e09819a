"""The queue that a thread works off: order, ends and failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from orchestrator.record.background import BackgroundQueue


def test_items_are_taken_in_order_and_a_close_waits_for_none_of_them() -> None:
    taken: list[int] = []
    go_on = threading.Event()

    def work(items: Iterator[int]) -> None:
        assert go_on.wait(20)
        taken.extend(items)

    queue = BackgroundQueue("numbers", work)
    queue.put(1, 2)
    queue.start()
    queue.put(3)
    assert not queue.is_idle
    queue.close()
    queue.put(4)
    assert not queue.join(timeout=0.01)
    go_on.set()
    assert queue.join(timeout=20)
    assert taken == [1, 2, 3]
    assert queue.is_idle


def test_a_close_may_drop_what_waits() -> None:
    taken: list[int] = []
    is_first_taken = threading.Event()

    def work(items: Iterator[int]) -> None:
        for item in items:
            taken.append(item)
            is_first_taken.set()
            assert queue.wait_closed(timeout=20)

    queue = BackgroundQueue("numbers", work)
    queue.start()
    queue.put(1, 2, 3)
    assert is_first_taken.wait(20)
    assert not queue.wait_closed()
    queue.close(drop=True)
    assert queue.join(timeout=20)
    assert taken == [1]


def test_a_failure_ends_the_thread_and_is_reported() -> None:
    failures: list[BaseException] = []

    def work(items: Iterator[int]) -> None:
        for item in items:
            raise ValueError(f"bang at {item}")

    queue = BackgroundQueue("numbers", work, failures.append)
    queue.put(1, 2)
    queue.start()
    assert queue.join(timeout=20)
    assert queue.wait_closed()
    assert [str(error) for error in failures] == ["bang at 1"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failure_without_a_handler_closes_the_queue() -> None:
    def work(items: Iterator[int]) -> None:
        raise ValueError(next(items))

    queue = BackgroundQueue("numbers", work)
    queue.put(1, 2)
    queue.start()
    assert queue.join(timeout=20)
    assert queue.wait_closed()
