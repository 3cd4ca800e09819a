"""The commands that write or serve pages: compare and watch. No logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.cli.arguments import AsJson, RunDir, print_json

pages = typer.Typer()


@pages.command(epilog="Example: cellscout compare runs/tpe-0 runs/tpe-1 runs/random-0 runs/random-1 -o samplers.html")
def compare(
    run_dirs: Annotated[
        list[str], typer.Argument(metavar="RUN_DIR...", help="Run directories of searches: folders or URIs.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write or replace.")
    ] = Path("compare.html"),
    as_json: AsJson = False,
) -> None:
    """Compare searches with different samplers, spaces or settings, with means and intervals over seeds.

    Runs that differ only in their seed form a group.

    Runs with different data, validation splits or objectives cannot be compared.
    """
    from orchestrator.report import (
        compare_runs,
        comparison_json,
        comparison_summary,
        comparison_tables,
        write_comparison,
    )

    comparison = compare_runs(run_dirs)
    write_comparison(comparison, output)
    if as_json:
        print_json({**comparison_json(comparison), "page": str(output)})
        return
    Console().print(comparison_tables(comparison))
    typer.echo(comparison_summary(comparison))
    typer.echo(f"page        {output}")


@pages.command(epilog="Example: cellscout watch runs/digits-20261121-120000")
def watch(
    run_dir: RunDir,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0: any free port. Default: 8400.")
    ] = None,
) -> None:
    """Serve the page of a run to the browser and update it while the run goes on; Ctrl-C ends it.

    The page is served to this machine only.

    The run is only read, so this works beside the search, and on any machine that can read the record.
    """
    from orchestrator.report import PORT, watch_run

    watch_run(run_dir, PORT if port is None else port, typer.echo)
