"""A searcher for a virtual clock, on which thinking takes no time: it waits until there is a suggestion."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, final

from ray.tune.search import Searcher

from orchestrator.search.searcher import OptunaSearcher

WAIT_SECONDS = 0.0005


@final
class PatientSearcher(Searcher):
    """Asks another one again until it suggests something. For `simulate`, which would take "none now" for a gap."""

    def __init__(self, searcher: OptunaSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next suggestion, whenever it comes; None where a trial must end before there is one."""
        while (suggestion := self._searcher.suggest(trial_id)) is None and not self._searcher.waits:
            time.sleep(WAIT_SECONDS)
        return suggestion

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Passed on."""
        self._searcher.on_trial_complete(trial_id, result, error)
