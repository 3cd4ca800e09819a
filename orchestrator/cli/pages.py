"""The commands that make pages to look at. No logic, as in `cli`, which takes them in."""

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
        list[str], typer.Argument(metavar="RUN_DIR...", help="Where searches left their records: folders or URIs.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page; one that is there is replaced.")
    ] = Path("compare.html"),
    as_json: AsJson = False,
) -> None:
    """Compare searches: samplers, spaces or settings, with means and intervals over seeds.

    Runs that differ in their seed only are one group. Runs on other data, with another validation split or other
    objectives cannot be compared.
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
        int | None, typer.Option("--port", min=0, max=65535, help="Of 127.0.0.1; 0: any free one. Default: 8400.")
    ] = None,
) -> None:
    """Show the page of a run in the browser, and make it anew while the run goes on; Ctrl-C ends it.

    It is served to this machine only, and the run is only read, so this can run beside the search, or on any machine
    that sees its record.
    """
    from orchestrator.report import PORT, watch_run

    watch_run(run_dir, PORT if port is None else port, typer.echo)
