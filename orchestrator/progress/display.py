"""Where and when progress is shown: a panel that is redrawn in a terminal or a notebook, or occasional lines in a log.

The running work calls its `Refresh` whenever something may have changed, as often as it likes. Does not know what is
shown.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self, final

from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from orchestrator.errors import check_class
from orchestrator.progress.snapshot import Snapshot

PANEL_SECONDS = 0.5
MAX_DRAWING_FRACTION = 0.02
"""Upper bound on the fraction of time spent drawing panels: a snapshot of many trials is slow."""

LINE_SECONDS = 10.0
"""Between two looks at the work when lines are printed."""
MAX_LINE_SECONDS = 300.0
"""Upper bound on the pause between two lines that differ; the pause grows with the duration of the run."""
SILENCE_SECONDS = 900.0
"""After this time a line is printed although nothing changed, to show that the process is alive."""

Refresh = Callable[[], None]
"""Called when something may have changed. Any thread may call it."""


class View(Protocol):
    """Reports on some running work."""

    def snapshot(self) -> Snapshot:
        """Return the current state of the work."""


class _Display(Protocol):
    def show(self, snapshot: Snapshot) -> None: ...

    def is_due(self) -> bool: ...


class Progress:
    """Writes progress to a console, by default to standard output, or nowhere."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()

    @classmethod
    def silent(cls) -> Self:
        """Create a `Progress` that writes nothing."""
        return cls(Console(quiet=True))

    @classmethod
    def of(cls, given: Progress | None) -> Progress:
        """Return what a caller gave as progress, or for None one that writes nothing.

        Raises:
            ConfigError: it is something else.
        """
        check_class("progress", given, cls)
        return given or cls.silent()

    def note(self, message: str) -> None:
        """Print what is being done now, for work without a view."""
        self._console.print(Text(f"{message} ..."), style="dim", soft_wrap=True)

    def line(self, message: str) -> None:
        """Print one line."""
        self._console.print(Text(message), soft_wrap=True)

    @contextlib.contextmanager
    def display(self, view: View, *, ticking: bool = False) -> Iterator[Refresh]:
        """Display the view as long as the context lasts, and yield the function that refreshes it.

        Args:
            view: reports on the work; called once per display.
            ticking: also refresh twice a second, from another thread.
        """
        with contextlib.ExitStack() as stack:
            refresh = _Refresh(self._make_display(view, stack), view)
            if ticking:
                stack.enter_context(_ticking(refresh))
            yield refresh

    def _make_display(self, view: View, stack: contextlib.ExitStack) -> _Display:
        console = self._console
        if console.quiet:
            return _NoDisplay()
        if console.is_jupyter:
            panel = _NotebookPanel(view.snapshot())
            stack.callback(lambda: panel.show(view.snapshot()))  # the last panel stays in the cell
            return panel
        # FORCE_COLOR makes rich draw into a log too, unless the file is checked.
        if console.is_interactive and console.file.isatty():
            return _LivePanel(
                stack.enter_context(
                    Live(_above_the_cursor(view.snapshot()), console=console, auto_refresh=False, transient=True)
                )
            )
        return _Lines(console)


@final
class _Refresh:
    """Shows a new snapshot if one is due."""

    def __init__(self, display: _Display, view: View) -> None:
        self._display = display
        self._view = view
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            if self._display.is_due():
                self._display.show(self._view.snapshot())


@contextlib.contextmanager
def _ticking(refresh: Refresh) -> Iterator[None]:
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(PANEL_SECONDS):
            refresh()

    thread = threading.Thread(target=tick, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@final
class _NoDisplay:
    def is_due(self) -> bool:
        return False

    def show(self, snapshot: Snapshot) -> None:
        """Do nothing."""


class _Rate:
    """Decides when a panel is redrawn: at most twice a second, and less often if drawing is slow."""

    def __init__(self) -> None:
        self._due = self._begun = 0.0

    def is_due(self) -> bool:
        self._begun = time.monotonic()
        return self._begun >= self._due

    def drawn(self) -> None:
        now = time.monotonic()
        self._due = now + max(PANEL_SECONDS, (now - self._begun) / MAX_DRAWING_FRACTION)


def _above_the_cursor(snapshot: Snapshot) -> Group:
    """The panel and an empty line, on which the terminal writes the `^C` of a Ctrl-C.

    At the end of the panel's last line, it would begin a line of which rich does not know when it erases the panel.
    """
    return Group(snapshot, Text())


@final
class _LivePanel:
    """A panel in a terminal, below what is printed meanwhile."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._rate = _Rate()
        self._width = live.console.width

    def is_due(self) -> bool:
        return self._rate.is_due()

    def show(self, snapshot: Snapshot) -> None:
        console, before = self._live.console, self._width
        self._width = console.width
        if self._width < before:
            # A terminal that became narrower has broken each line of the panel into several; rich erases one for each.
            further = (-(-before // self._width) - 1) * len(console.render_lines(snapshot))
            console.control(Control(*[(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)] * further))
        self._live.update(_above_the_cursor(snapshot), refresh=True)
        self._rate.drawn()


@final
class _NotebookPanel:
    """A panel in the output of a notebook's cell, where the last one stays."""

    def __init__(self, snapshot: Snapshot) -> None:
        from IPython.display import display

        self._handle: Any = display(snapshot, display_id=True)
        self._rate = _Rate()

    def is_due(self) -> bool:
        return self._rate.is_due()

    def show(self, snapshot: Snapshot) -> None:
        self._handle.update(snapshot)
        self._rate.drawn()


@final
class _Lines:
    """Lines in a file or a log, if something changed: every ten seconds at first, later every five minutes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = self._printed_at = self._checked_at = time.monotonic()
        self._key: object = None
        self._urgent_key: object = None

    def is_due(self) -> bool:
        return time.monotonic() - self._checked_at >= LINE_SECONDS

    def show(self, snapshot: Snapshot) -> None:
        now = self._checked_at = time.monotonic()
        silent = now - self._printed_at
        pause = min(MAX_LINE_SECONDS, (now - self._begun) / 10)
        changed = snapshot.key != self._key and silent >= pause
        if changed or snapshot.urgent_key != self._urgent_key or silent >= SILENCE_SECONDS:
            self._console.print(Text(snapshot.line), soft_wrap=True)
            self._printed_at, self._key, self._urgent_key = now, snapshot.key, snapshot.urgent_key
