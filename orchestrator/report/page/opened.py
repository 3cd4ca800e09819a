"""What a row of the leaderboard shows when it is opened: its curve, its cells, further facts, its error, commands."""

from __future__ import annotations

import shlex
from typing import Any

from orchestrator.progress import number
from orchestrator.record import Trial, score_of
from orchestrator.report.drawing import svg
from orchestrator.report.page.plot import metric_label, thinned
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.summary import retrain_command
from search_spaces import Architecture

MAX_EPOCHS = 200
"""The maximal number of points of a curve."""


def opened_row(record: PageRecord, trial: Trial, architecture: Architecture) -> dict[str, Any]:
    """Return the values for the page's script, which makes elements of them; only `cells` are markup."""
    metric, _ = score_of(record.state.objectives)
    curve = thinned([(row.epoch, row.metric(metric)) for row in trial.curve], MAX_EPOCHS)
    retrain = retrain_command(record, trial)
    commands = {} if retrain is None else {"Retrain it": retrain}
    if record.state.best is not None:  # before, no trial's network can be found by its name
        place = f"{record.location}#{trial.trial_id}"
        commands["Draw its cells"] = shlex.join(["cellscout", "draw", place, "-o", f"{trial.trial_id}.svg"])
    return {
        "epochs": [epoch for epoch, _ in curve],
        "scores": [score for _, score in curve],
        "cells": svg.large_cells(architecture),
        "facts": _facts(trial),
        "error": trial.error,
        "commands": commands,
    }


def _facts(trial: Trial) -> dict[str, str]:
    """Return what the row does not show."""
    facts = {
        "activation bytes": number(trial.metric("activation_bytes")),
        "latency in seconds": number(trial.latency_seconds),
        **{metric_label(name): number(value) for name, value in trial.last_metrics.items()},
        "worker": ", ".join(filter(None, (trial.node, trial.device))),
        "lost its worker": "" if not trial.set_back else str(len(trial.set_back)),
        "answered by": "" if trial.duplicate_of is None else f"trial {trial.duplicate_of}",
        "fingerprint": trial.fingerprint,
    }
    return {name: value for name, value in facts.items() if value not in ("", "-")}
