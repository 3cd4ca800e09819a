"""What the tests of every task try alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.record.recorded_run import RecordedRun
from trainables.network_spec import NetworkSpec


def check_refused(cellscout: Any, arguments: Sequence[str], message: str) -> None:
    """The command ends with status 2 and one line that has the message."""
    ended = cellscout(*arguments)
    assert (ended.status, len(ended.err.splitlines())) == (2, 1), ended.err
    assert message in ended.err


def check_longer_costs_more(cellscout: Any, run: Path, costs: dict[str, Any]) -> None:
    """For longer examples the network of the run has more multiply-adds, and as many parameters."""
    longer = json.loads(cellscout("costs", str(run), "--image-size", "48", "--json").out)
    assert longer["macs"] > costs["macs"]
    assert longer["parameters"] == costs["parameters"]


def search_and_go_on(cellscout: Any, settings: Sequence[str]) -> tuple[str, NetworkSpec]:
    """Search into `run`, and go on to three trials; return what the search said, and the best network."""
    ended = cellscout("search", "--run-dir", "run", *(word for one in settings for word in ("--set", one)))
    assert ended.status == 0, ended.err
    said = ended.err + ended.out
    ended = cellscout("resume", "run", "--set", "budget.trials=3")
    assert ended.status == 0, ended.err
    assert len(RecordedRun.read("run").state().trials) == 3
    return said, NetworkSpec.from_json(json.loads(Path("run/best/network.json").read_text()))
