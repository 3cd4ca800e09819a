"""A thread that works off a queue, so that its callers do not wait for the work. Does not know what is in the queue."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar, final

T = TypeVar("T")


@final
class BackgroundQueue(Generic[T]):
    """Items that one daemon thread takes in the order in which they were put.

    Args:
        name: of the thread.
        work: called once, in the thread, with an iterator over the items. The iterator waits for the next item; it ends
            once the queue is closed and empty.
        on_failure: called in the thread with an exception that `work` raised; None: Python prints it. The queue is
            closed and empty then.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Iterator[T]], None],
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._work = work
        self._on_failure = on_failure
        self._waiting: deque[T] = deque()
        self._is_working = False
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. `put` may be called before."""
        self._thread.start()

    @property
    def is_started(self) -> bool:
        """Whether there is a thread, or was one."""
        return self._thread.ident is not None

    def work_off(self) -> None:
        """Work off what waits, in the caller's thread and in place of `start`; raises a KeyboardInterrupt."""
        try:
            self._work(self._waiting_items())
        except BaseException as error:
            if self._on_failure is None or not isinstance(error, Exception):
                raise
            self._on_failure(error)

    def put(self, *items: T) -> None:
        """Add items, unless the queue is closed."""
        with self._changed:
            if not self._is_closed:
                self._waiting.extend(items)
                self._changed.notify_all()

    def close(self, *, drop: bool = False) -> None:
        """Take no more items; the thread ends after those that wait, which `drop` removes. Does not wait for it."""
        with self._changed:
            self._is_closed = True
            if drop:
                self._waiting.clear()
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended, at most `timeout` seconds; whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def wait_closed(self, timeout: float = 0.0) -> bool:
        """Wait until the queue is closed, at most `timeout` seconds; whether it is closed."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_closed, max(0.0, timeout))

    @property
    def is_idle(self) -> bool:
        """Whether no item waits and the last one that was taken is done."""
        with self._changed:
            return not self._waiting and not self._is_working

    def _run(self) -> None:
        try:
            self._work(self._items())
        except BaseException as error:
            self.close(drop=True)
            if self._on_failure is None:
                raise
            self._on_failure(error)

    def _waiting_items(self) -> Iterator[T]:
        while self._waiting:
            yield self._waiting.popleft()

    def _items(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._is_working = False
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                item = self._waiting.popleft()
                self._is_working = True
            yield item
