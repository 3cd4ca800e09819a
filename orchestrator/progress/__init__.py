"""Progress of running work: a panel in a terminal or a notebook, plain lines elsewhere.

A view makes a snapshot of the work: `search_view`, with `time_left`, of a search; `work_view` of smaller work; and
`orchestrator.retraining.showing` of a retraining. `snapshot` draws it, and `display` decides where and when.
"""

from orchestrator.progress.display import Progress, Refresh, View
from orchestrator.progress.snapshot import Row, Snapshot
from orchestrator.progress.words import (
    clock,
    describe,
    format_estimate,
    join_words,
    number,
    plain_line,
    scores,
    sparkline,
)
from orchestrator.progress.work_view import WorkView

__all__ = [
    "Progress",
    "Refresh",
    "Row",
    "Snapshot",
    "View",
    "WorkView",
    "clock",
    "describe",
    "format_estimate",
    "join_words",
    "number",
    "plain_line",
    "scores",
    "sparkline",
]
