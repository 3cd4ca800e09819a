"""How work is shown while it goes on: a calm panel in a terminal and in a notebook, plain lines elsewhere.

`standing` knows how it looks, `display` where and when it is shown. What there is to say: of a search `search_view`,
with `time_left`; of smaller work `work_view`; of a retraining `orchestrator.networks.retraining.progress_view`.
"""

from orchestrator.progress.display import Progress, Show, View
from orchestrator.progress.standing import Row, Standing
from orchestrator.progress.words import clock, counted, describe, harmless, listed, number, roughly, scores, sparkline
from orchestrator.progress.work_view import WorkView

__all__ = [
    "Progress",
    "Row",
    "Show",
    "Standing",
    "View",
    "WorkView",
    "clock",
    "counted",
    "describe",
    "harmless",
    "listed",
    "number",
    "roughly",
    "scores",
    "sparkline",
]
