"""`CandidatePool`: trains what a loop of the user's own submits, with all that a search does for its candidates.

The loop has the thread that opens the pool; the search runs in another. See `submissions` for what passes between them.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self, final

from ray.tune.schedulers import TrialScheduler

from orchestrator.cluster import raising_on_interrupt
from orchestrator.config import OWN_LOOP, SamplerSettings, SearchConfig
from orchestrator.errors import ConfigError, InputError
from orchestrator.progress import Progress
from orchestrator.record import Listener, RecordedRun
from orchestrator.search.passed import PassedParts
from orchestrator.search.run import OpenSearch, SearchResult, check_settings, open_search, reopen_search
from orchestrator.search.submissions import CandidateResult, Submissions
from search_spaces import Architecture, CellSpace
from trainables import EpochTrainable


@final
class CandidatePool:
    """Trains architectures that the caller chooses, instead of a sampler. Use it as a context.

    The arguments are those of a search; the sampler of the configuration is not asked. The run begins with the
    context, and at its end waits for what was submitted and confirms the winner. If the context ends by an exception
    (Ctrl-C included), the run is interrupted, and can be resumed.

    Raises, when the context is entered:
        InputError: the configuration cannot be used; nothing was changed.
    """

    search_result: SearchResult
    """What a search returns; set at the end of the context."""
    _opened: tuple[CellSpace, Submissions] | None = None
    """Set when the context is entered."""

    def __init__(
        self,
        config: SearchConfig,
        *,
        run_dir: Path | str | None = None,
        address: str | None = None,
        progress: Progress | None = None,
        on_event: Listener | None = None,
        space: CellSpace | None = None,
        scheduler: TrialScheduler | None = None,
        trainable: type[EpochTrainable] | None = None,
    ) -> None:
        check_settings(config)
        own = config.model_copy(update={"sampler": SamplerSettings(name=OWN_LOOP)})
        given = PassedParts(space=space, scheduler=scheduler, trainable=trainable)
        self._context = self._running(
            open_search(own, given, run_dir=run_dir, address=address, progress=progress, on_event=on_event)
        )

    @classmethod
    def resume(
        cls,
        run_dir: Path | str,
        changes: Sequence[str] = (),
        *,
        address: str | None = None,
        progress: Progress | None = None,
        on_event: Listener | None = None,
        space: CellSpace | None = None,
        scheduler: TrialScheduler | None = None,
        trainable: type[EpochTrainable] | None = None,
    ) -> Self:
        """Continue a pool's run from the end of its record; the arguments are those of a resume of a search.

        `history` has what had ended. Trials that had not ended continue, and are among the `results`.

        Raises:
            InputError: there is no run, or it was not a pool's. For others see `resume_search`.
        """
        recorded = RecordedRun.of_search(run_dir)
        name = recorded.info.component("sampler")
        if name != OWN_LOOP:
            raise ConfigError(f"{run_dir} was searched with the sampler {name}, not by a CandidatePool: use `resume`")
        pool = cls.__new__(cls)
        given = PassedParts(space=space, scheduler=scheduler, trainable=trainable)
        own = [*changes, f"sampler.name={OWN_LOOP}"]
        pool._context = pool._running(
            reopen_search(recorded, own, given, address=address, progress=progress, on_event=on_event)
        )
        return pool

    @property
    def space(self) -> CellSpace:
        """Of the configuration. What is submitted must be in it."""
        return self._parts[0]

    @property
    def _submissions(self) -> Submissions:
        return self._parts[1]

    @property
    def _parts(self) -> tuple[CellSpace, Submissions]:
        if self._opened is None:
            raise InputError("the pool is not open; use it as a context: with CandidatePool(...) as pool")
        return self._opened

    def submit(self, architecture: Architecture) -> Future[CandidateResult]:
        """Have an architecture trained after those that were submitted before it, unless its result is on record.

        Once the budget is spent, the future that it returns is `cancelled()`. A future whose trial is on record
        cannot be cancelled by the caller.

        Raises:
            InputError: it is not an architecture, or not in the space; or the pool is not open.
            SearchError: the run could not continue.
        """
        if not isinstance(architecture, Architecture):
            raise InputError(
                f"a {type(architecture).__name__} was submitted; an Architecture is needed, as Architecture.from_json "
                "reads it"
            )
        space, submissions = self._parts
        try:
            params = space.encode(architecture)
        except ValueError as error:
            raise InputError(f"the architecture is not in the space of this run (space.name): {error}") from error
        return submissions.submit(dict(params))

    def results(self) -> Iterator[CandidateResult]:
        """Yield results in the order in which they come, each once; wait for the next while any trial is in flight.

        Ends when nothing is in flight, or the run trains nothing more.

        Raises:
            SearchError: the run could not continue.
        """
        return self._submissions.results()

    @property
    def history(self) -> list[CandidateResult]:
        """All results so far, those before a resume included, in the order in which they came."""
        return self._submissions.history()

    def __enter__(self) -> Self:
        self._context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def _running(self, opened: AbstractContextManager[OpenSearch]) -> Iterator[None]:
        """Run the search in a thread, for the time of the context and until it has ended."""
        with opened as search:
            assert isinstance(search.source, Submissions), "its sampler is the loop"
            self._opened = search.session.components.space, search.source
            ended: Future[SearchResult] = Future()
            target = functools.partial(_run, search, search.source, ended)
            threading.Thread(target=target, name="search", daemon=True).start()
            try:
                # In the loop Ctrl-C is an exception. Before and after it, it ends the search in order.
                with raising_on_interrupt():
                    yield
            except BaseException:
                search.session.environment.stopper.interrupted = True
                raise
            finally:
                search.source.close()
                wait([ended])
            self.search_result = ended.result()


def _run(search: OpenSearch, submissions: Submissions, ended: Future[SearchResult]) -> None:
    """Run the search; pass its result, or what it raised, to the loop's thread."""
    try:
        result = search.run()
    except BaseException as error:  # noqa: BLE001 (another thread raises it)
        submissions.end(error)
        ended.set_exception(error)
    else:
        ended.set_result(result)
