"""Views of a search's progress from made-up states, and what they show as text."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from orchestrator.config.loading import load_config
from orchestrator.progress import Snapshot
from orchestrator.progress.search_view import SearchView
from orchestrator.record.events import TrialEnded, TrialSetBack, TrialStarted
from orchestrator.record.run_state import RunState
from tests.builders import RUN, at

LONG_ERROR = (
    "RuntimeError: \x1b[31mmat1 and\n mat2\x1b[2J shapes [bold]cannot be multiplied (128x12 and 14x10), as it seems"
)


def view(budget: int = 10, *settings: str, state: RunState | None = None) -> SearchView:
    config = load_config(None, [f"budget.trials={budget}", "training.epochs=3", *settings])
    return SearchView(config, state or RunState.replay(RUN), (1, 2))


def in_trouble() -> SearchView:
    state = RunState.replay(RUN)
    state.apply(TrialSetBack(time=at(11), trial_id="00005", cause="node_died", reason="its node died"))
    state.apply(TrialStarted(time=at(12), trial_id="00005", attempt=2))
    state.apply(TrialEnded(time=at(13), trial_id="00005", status="failed", error=LONG_ERROR))
    return view(state=state)


def drawn(snapshot: Snapshot, width: int = 80, **settings: Any) -> str:
    console = Console(width=width, file=io.StringIO(), **{"force_terminal": False, **settings})
    with console.capture() as capture:
        console.print(snapshot)
    return capture.get()
