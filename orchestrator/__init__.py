"""Who decides: configuration, search, samplers, schedulers, record, reports.

`run_search`, `SearchConfig` and the others are imported when they are first used, so that `cellscout --help` need not
wait for Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.config import SearchConfig, load_config
    from orchestrator.evaluation.run import EvaluationResult, evaluate
    from orchestrator.evaluation.settings import EvaluationSettings
    from orchestrator.search import SearchResult, resume_search, run_search
    from orchestrator.study_replay import load_study

__all__ = [
    "EvaluationResult",
    "EvaluationSettings",
    "SearchConfig",
    "SearchResult",
    "evaluate",
    "load_config",
    "load_study",
    "resume_search",
    "run_search",
]


def __getattr__(name: str) -> Any:
    if name in ("SearchConfig", "load_config"):
        from orchestrator import config

        return getattr(config, name)
    if name in ("EvaluationResult", "evaluate"):
        from orchestrator.evaluation import run

        return getattr(run, name)
    if name == "EvaluationSettings":
        from orchestrator.evaluation.settings import EvaluationSettings

        return EvaluationSettings
    if name in ("SearchResult", "resume_search", "run_search"):
        from orchestrator import search

        return getattr(search, name)
    if name == "load_study":
        from orchestrator.study_replay import load_study

        return load_study
    raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
