"""Where and when work is shown: a panel that is drawn again, in a terminal or a notebook, or lines now and then.

Whoever works calls the `Show` that it is given whenever something may have happened; how often that is does not matter.
Does not know what is shown.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self, final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from orchestrator.progress.standing import Standing

PANEL_SECONDS = 0.5
MOST_OF_THE_TIME = 0.02
"""A panel is drawn no more often than lets it take this part of the time: the state of many trials takes its time."""

LINE_SECONDS = 10.0
LONGEST_SECONDS = 300.0
"""Between two lines with news, in a long run."""
SILENCE_SECONDS = 900.0
"""After which a line is said without news, so that it is seen to live."""

Show = Callable[[], None]
"""Something may have happened. Any thread may call it."""


class View(Protocol):
    """What there is to say of some work."""

    def standing(self) -> Standing:
        """How it stands now."""


class _Display(Protocol):
    def show(self, standing: Standing) -> None: ...

    def is_due(self) -> bool: ...


class Progress:
    """Where progress goes: a console (standard error), or nowhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @classmethod
    def silent(cls) -> Self:
        return cls(Console(quiet=True))

    def note(self, message: str) -> None:
        """What is being done, where there is nothing more to say about it."""
        self._console.print(Text(f"{message} ..."), style="dim", soft_wrap=True)

    def line(self, message: str) -> None:
        """What has been done."""
        self._console.print(Text(message), soft_wrap=True)

    @contextlib.contextmanager
    def showing(self, view: View, *, ticking: bool = False) -> Iterator[Show]:
        """Show how the work stands for as long as the context lasts.

        Args:
            view: says how; asked as often as it is shown.
            ticking: it is shown twice a second even if nobody calls; `view` is then asked by another thread.
        """
        with contextlib.ExitStack() as stack:
            shown = _Shown(self._display(view, stack), view)
            if ticking:
                stack.enter_context(_ticking(shown))
            yield shown

    def _display(self, view: View, stack: contextlib.ExitStack) -> _Display:
        console = self._console
        if console.quiet:
            return _Nothing()
        if console.is_jupyter:
            panel = _NotebookPanel(view.standing())
            stack.callback(lambda: panel.show(view.standing()))  # it stays
            return panel
        # Where colours are forced into a log (FORCE_COLOR), rich would draw there too.
        if console.is_interactive and console.file.isatty():
            return _LivePanel(
                stack.enter_context(Live(view.standing(), console=console, auto_refresh=False, transient=True))
            )
        return _Lines(console)


@final
class _Shown:
    """What whoever works calls."""

    def __init__(self, display: _Display, view: View) -> None:
        self._display = display
        self._view = view
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            if self._display.is_due():
                self._display.show(self._view.standing())


@contextlib.contextmanager
def _ticking(show: Show) -> Iterator[None]:
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(PANEL_SECONDS):
            show()

    thread = threading.Thread(target=tick, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@final
class _Nothing:
    def is_due(self) -> bool:
        return False

    def show(self, standing: Standing) -> None:
        """Nowhere."""


class _Rate:
    """When a panel is to be drawn again: at most twice a second, and more rarely where it takes long."""

    def __init__(self) -> None:
        self._due = self._begun = 0.0

    def is_due(self) -> bool:
        self._begun = time.monotonic()
        return self._begun >= self._due

    def drawn(self) -> None:
        now = time.monotonic()
        self._due = now + max(PANEL_SECONDS, (now - self._begun) / MOST_OF_THE_TIME)


@final
class _LivePanel:
    """In a terminal, below whatever is printed meanwhile."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._rate = _Rate()

    def is_due(self) -> bool:
        return self._rate.is_due()

    def show(self, standing: Standing) -> None:
        self._live.update(standing, refresh=True)
        self._rate.drawn()


@final
class _NotebookPanel:
    """In the output of a notebook's cell, where the last one stays."""

    def __init__(self, standing: Standing) -> None:
        from IPython.display import display

        self._handle: Any = display(standing, display_id=True)
        self._rate = _Rate()

    def is_due(self) -> bool:
        return self._rate.is_due()

    def show(self, standing: Standing) -> None:
        self._handle.update(standing)
        self._rate.drawn()


@final
class _Lines:
    """In a file or a log: with news only, every ten seconds at first, in a long run every five minutes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = self._said_at = self._looked_at = time.monotonic()
        self._news: object = None
        self._trouble: object = None

    def is_due(self) -> bool:
        return time.monotonic() - self._looked_at >= LINE_SECONDS

    def show(self, standing: Standing) -> None:
        now = self._looked_at = time.monotonic()
        silent = now - self._said_at
        turn = min(LONGEST_SECONDS, (now - self._begun) / 10)
        is_news = standing.news != self._news and silent >= turn
        if is_news or standing.trouble != self._trouble or silent >= SILENCE_SECONDS:
            self._console.print(Text(standing.line), soft_wrap=True)
            self._said_at, self._news, self._trouble = now, standing.news, standing.trouble
