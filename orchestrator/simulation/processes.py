"""Runs the same function on many inputs, in as many processes as there are cores. Does not know what it does."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from orchestrator.cluster import usable_cpus
from orchestrator.errors import SearchError

THREADS = "OMP_NUM_THREADS"
"""The environment variable that limits the threads of numpy in a process."""

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_all(work: Callable[[Job], Result], jobs: Sequence[Job]) -> Generator[tuple[Job, Result]]:
    """Yield each job with its result, in the order in which they end.

    New processes are started, not forked, because threads of Ray or Arrow may hold locks that a fork would never see
    released. Each imports the program once, which takes about two seconds. With one core or one job, the work is done
    here. If the caller stops early, or an exception is raised, the processes are killed.

    Args:
        work: a function that can be pickled, such as a `functools.partial` with what all jobs share. Each process gets
            it once.
        jobs: what it is called with.

    Raises:
        SearchError: a process died.
        Exception: what `work` raised first.
    """
    count = min(usable_cpus(), len(jobs))
    if count == 1:
        for job in jobs:
            yield job, work(job)
        return
    with _pool(count, work) as pool:
        with _starting():
            pending = {pool.submit(_do, job): job for job in jobs}
        try:
            for future in as_completed(pending):
                yield pending[future], future.result()
        except BrokenProcessPool as error:
            raise SearchError("a process that simulates searches died; was there enough memory?") from error


@contextlib.contextmanager
def _pool(count: int, work: Callable[[Any], Any]) -> Iterator[ProcessPoolExecutor]:
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_keep, initargs=(work,))
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()  # a simulation may take minutes
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Start processes in this context with one numerical thread each, and with Ctrl-C blocked.

    Otherwise each would print a traceback, and numpy would use all cores in each.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threads = os.environ.get(THREADS)
    os.environ[THREADS] = "1"
    try:
        yield
    finally:
        if threads is None:
            del os.environ[THREADS]
        else:
            os.environ[THREADS] = threads
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


_work: list[Callable[[Any], Any]] = []
"""What this process does, if it was started by `run_all`."""


def _keep(work: Callable[[Any], Any]) -> None:
    _work.append(work)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process if the one that started it is gone, killed or interrupted; it would wait for jobs forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "it was started by `run_all`"
    parent.join()
    os._exit(1)


def _do(job: Any) -> Any:
    return _work[0](job)
