"""The searcher as Ray Tune's search algorithm, which may have more to hand out after it had no more.

Ray Tune's own `SearchGenerator` is finished for good once its searcher has said so, or once it made `num_samples`
trials. Here a trial that lost its worker is handed out again, and the budget counts candidates.
"""

from __future__ import annotations

from typing import final

from ray.tune.search.search_generator import SearchGenerator

from orchestrator.optuna_searcher import OptunaSearcher


@final
class Proposals(SearchGenerator):
    """As long as the searcher has more."""

    def __init__(self, searcher: OptunaSearcher) -> None:
        super().__init__(searcher)
        self._stopped = False

    def is_finished(self) -> bool:
        """Asked by Ray Tune and by schedulers: whether no more trials come, as far as can be told."""
        return self._stopped or self.searcher.is_finished()

    def set_finished(self) -> None:
        """Called by Ray Tune where the search is stopped."""
        self._stopped = True
