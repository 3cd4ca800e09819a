"""The commands that write or serve pages: compare and watch. No logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.cli.arguments import AsJson, print_json

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
    """Compare searches on the same data with different samplers, spaces or settings: means and intervals over seeds.

    Runs that differ only in their seed form a group; so do runs that differ in budget.hours, if budget.trials is set.

    Runs with different data (or another data.image_size), validation splits or objectives cannot be compared.
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
    location: Annotated[
        str, typer.Argument(metavar="RUN_DIR|FOLDER", help="A run directory, or a folder of them: a path or a URI.")
    ],
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0: any free port. Default: 8400.")
    ] = None,
) -> None:
    """Serve the page of a run to the browser and update it while the run goes on; Ctrl-C ends it.

    Of a folder with several runs, a list of all of them is served, which leads to their pages.

    The pages are served to this machine only.

    The runs are only read, so this works beside a search, and on any machine that can read the records.
    """
    from orchestrator.report import PORT, watch_runs

    watch_runs(location, PORT if port is None else port, typer.echo)
