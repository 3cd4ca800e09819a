"""Who decides: configuration, search, samplers, schedulers, record, reports.

`run_search` and `SearchConfig` are imported when they are first used, so that `cellscout --help` need not wait for Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.config import SearchConfig, load_config
    from orchestrator.search import SearchResult, run_search

__all__ = ["SearchConfig", "SearchResult", "load_config", "run_search"]


def __getattr__(name: str) -> Any:
    if name in ("SearchConfig", "load_config"):
        from orchestrator import config

        return getattr(config, name)
    if name in ("SearchResult", "run_search"):
        from orchestrator import search

        return getattr(search, name)
    raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
