"""What several commands take, and how they print JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

# Not `Path`, which would make s3:/ of s3://.
RunDir = Annotated[
    str, typer.Argument(metavar="RUN_DIR", help="Where a search left its record: a folder, or a URI such as s3://...")
]
NetworkName = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="A run directory (its retrained winner, or else its best), RUN_DIR/best, or RUN_DIR/retrain/NAME.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ArchitectureName = Annotated[
    str,
    typer.Argument(
        metavar="ARCHITECTURE",
        help="A published cell (cellscout list cells), an architecture.json or network.json, a run directory, or "
        "RUN_DIR#TRIAL, a trial of its leaderboard.",
    ),
]
Top = Annotated[int, typer.Option("--top", min=1, help="How many of the best trials to show.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a setting; may be repeated.")
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="A running Ray cluster: 'auto' or HOST:PORT. Without it, one is started here."),
]


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))
