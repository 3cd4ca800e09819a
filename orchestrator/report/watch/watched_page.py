"""The newest page of a run, made anew while the run goes on. Only reads the record. Does not know how it is served."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources

from orchestrator.errors import last_line
from orchestrator.record import (
    BEST,
    EVALUATION,
    EVALUATION_RESULT,
    EVENTS,
    EXPORTED,
    EXPORTS,
    INFO,
    RANDOM,
    RETRAIN_RESULT,
    RETRAIN_SETTINGS,
    RETRAINED,
    SEGMENTS,
    RecordedRun,
    RunDirectory,
)
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.writing import make_page
from trainables.storage import reason

MIN_SECONDS = 5.0
"""The minimal time between two checks of the log."""
PAUSE_FACTOR = 10
"""The pause after an update, as a multiple of the time it took: updates use at most a tenth of a core."""

RELOADER = resources.files("orchestrator.report.watch") / "watch.js"


@dataclass(frozen=True)
class Version:
    """One version of the page."""

    number: int
    """Counts from 1."""
    standing: str
    """`running`, `confirming`, `died`, or how the run ended."""
    page: bytes = field(repr=False)


class Attempts:
    """Runs an update that may fail, again and again, and reports each problem once, after the words of `failure`."""

    def __init__(self, say: Callable[[str], None], failure: str) -> None:
        self._say = say
        self._failure = failure
        self._problem = ""

    def run(self, update: Callable[[], None]) -> None:
        """Run the update."""
        try:
            update()
            self._problem = ""
        except Exception as error:  # noqa: BLE001  any error: the next attempt may succeed
            problem = reason(error) if isinstance(error, OSError) else last_line(error)
            if problem != self._problem:
                self._say(f"{self._failure}: {problem}")
            self._problem = problem


def pause_after(started: float) -> float:
    """Return how many seconds to pause after an update that started at this time of the monotonic clock."""
    return max(MIN_SECONDS, PAUSE_FACTOR * (time.monotonic() - started))


class WatchedPage:
    """The newest page of a run. One thread updates it; the threads that serve browsers read it.

    Raises:
        RunDirectoryError: there is no run, or its record cannot be read.
    """

    def __init__(self, directory: RunDirectory, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say
        self._state: object = None
        self._attempts = Attempts(say, "the page was not updated")
        self.newest = self._make(number=1)

    def refresh(self) -> float:
        """Make a new page if the record has changed, and return how many seconds to pause.

        If that fails, the old page stays: a store may be unreachable for a while. Each problem is reported once.
        """
        started = time.monotonic()
        self._attempts.run(self._update)
        return pause_after(started)

    def _update(self) -> None:
        if self._record_state() != self._state:
            before, self.newest = self.newest, self._make(self.newest.number + 1)
            if before.standing != self.newest.standing:
                self._say(f"the run {standing_in_words(self.newest.standing)}")

    @property
    def words(self) -> str:
        """What it shows, as a part of a sentence."""
        return f"{self._directory}, which {standing_in_words(self.newest.standing)}"

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Return the content type and the body for a path; None if there is nothing at it."""
        return answer_of(self.newest, path)

    def _make(self, number: int) -> Version:
        state = self._record_state()  # before the page, so that the next check sees changes made meanwhile
        record = PageRecord.read(RecordedRun.of_search(self._directory))
        page = make_page(record)
        self._state = state
        return Version(number, record.stage, page)

    def _record_state(self) -> object:
        """Return a value that changes whenever the page would change."""
        folder = self._directory.folder
        segments, retrained = folder / SEGMENTS, folder / RETRAINED
        networks = [retrained / name for name in retrained.names()]
        files = [
            (folder, EVENTS),
            *((segments, name) for name in segments.names()[-1:]),  # of a log on an object store
            *((folder / EVALUATION, name) for name in (INFO, EVALUATION_RESULT)),
            (folder / EVALUATION / RANDOM, EVENTS),
            *((network, name) for network in networks for name in (RETRAIN_SETTINGS, RETRAIN_RESULT)),
            *((network / EXPORTED, EXPORTS) for network in (folder / BEST, *networks)),
        ]
        stamps = {str(place / name): place.stamp(name) for place, name in files}
        run = RecordedRun.read(self._directory)
        return run.info, run.standing, {name: stamp for name, stamp in stamps.items() if stamp}


def answer_of(newest: Version, path: str) -> tuple[str, bytes] | None:
    """Return the content type and the body of a page at `/` and of its version at `/version`; None at other paths.

    The page has a script that asks for its version and loads it again.
    """
    match path:
        case "/":
            script = f"<script>const VERSION = {newest.number};\n{RELOADER.read_text()}</script>\n"
            head, end, tail = newest.page.rpartition(b"</body>")
            return "text/html", head + script.encode() + end + tail
        case "/version":
            return "application/json", json.dumps({"version": newest.number, "standing": newest.standing}).encode()
    return None


def standing_in_words(standing: str) -> str:
    """Return the state of a run as the end of a sentence."""
    words = {"running": "is running", "confirming": "trains its best candidates again"}
    return words.get(standing, f"has ended ({standing.replace('_', ' ')})")
