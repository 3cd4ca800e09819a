"""Who decides: configuration, search, samplers, schedulers, record, reports.

`run_search`, `SearchConfig` and the others are imported when they are first used, so that `cellscout --help` need not
wait for Ray.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.config.search_config import SearchConfig, load_config
    from orchestrator.evaluation.run import EvaluationResult, evaluate
    from orchestrator.evaluation.settings import EvaluationSettings
    from orchestrator.networks.retraining.run import RetrainResult, retrain
    from orchestrator.networks.retraining.settings import RetrainSettings
    from orchestrator.search.run import SearchResult, resume_search, run_search
    from orchestrator.study.replay import load_study

__all__ = [
    "EvaluationResult",
    "EvaluationSettings",
    "RetrainResult",
    "RetrainSettings",
    "SearchConfig",
    "SearchResult",
    "evaluate",
    "load_config",
    "load_study",
    "resume_search",
    "retrain",
    "run_search",
]

_HOMES = {
    "EvaluationResult": "evaluation.run",
    "EvaluationSettings": "evaluation.settings",
    "RetrainResult": "retraining.run",
    "RetrainSettings": "retraining.settings",
    "SearchConfig": "config",
    "SearchResult": "search",
    "evaluate": "evaluation.run",
    "load_config": "config",
    "load_study": "study_replay",
    "resume_search": "search",
    "retrain": "retraining.run",
    "run_search": "search",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    return getattr(import_module(f"orchestrator.{_HOMES[name]}"), name)
