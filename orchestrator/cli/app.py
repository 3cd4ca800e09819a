"""The commands. No logic: each command reads its arguments, calls one function and shows the result.

Each command imports what it needs when it runs, so that `--help` does not wait for Ray.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from orchestrator.cli import networks, pages, simulate
from orchestrator.cli.arguments import (
    Address,
    ArchitectureName,
    AsJson,
    RunDir,
    SetValues,
    Top,
    print_json,
    stdout_to_stderr,
)
from orchestrator.cli.unknown_options import Commands
from orchestrator.cluster import SLEEPING_THREADS, environment_variables, unless_set
from orchestrator.errors import CellscoutError, InputError

if TYPE_CHECKING:
    from orchestrator.record import RecordedRun, RunState
    from orchestrator.search import SearchResult

app = typer.Typer(
    name="cellscout",
    cls=Commands,
    help="Parallel neural-architecture search over NASNet-type cells.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


app.add_typer(networks.networks)
app.add_typer(pages.pages)
app.add_typer(simulate.simulations)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cellscout {version('cellscout')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback if the command fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    context.obj = debug


@app.command(
    epilog="Example: cellscout search examples/fashion_mnist.toml --set data.root=data --set budget.trials=50",
)
def search(
    search_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="SEARCH.toml",
            help="The search file, or a folder of pictures with a subfolder for each class. Without it, the built-in "
            "search on digits is run.",
        ),
    ] = None,
    overrides: SetValues = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Short for --set budget.trials=N.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Short for --set training.epochs=N.")] = None,
    sampler: Annotated[str | None, typer.Option("--sampler", help="Short for --set sampler.name=NAME.")] = None,
    scheduler: Annotated[str | None, typer.Option("--scheduler", help="Short for --set scheduler.name=NAME.")] = None,
    run_dir: Annotated[
        str | None,
        typer.Option(
            "--run-dir", help="Where to write the record: a folder or a URI. Default: a new folder in run.storage."
        ),
    ] = None,
    address: Address = None,
    top: Top = 10,
    as_json: AsJson = False,
) -> None:
    """Search for cells, and record the search and its best network."""
    from orchestrator.config import load_config
    from orchestrator.progress import Progress
    from orchestrator.search import run_search

    short = {
        "budget.trials": trials,
        "training.epochs": epochs,
        "sampler.name": sampler,
        "scheduler.name": scheduler,
    }
    changes = [f"{name}={value}" for name, value in short.items() if value is not None]
    config = load_config(search_file, [*(overrides or []), *changes])
    with stdout_to_stderr():
        result = run_search(config, run_dir=run_dir, address=address, progress=Progress(Console(stderr=True)))
    _print_result(result, top, as_json)


@app.command(epilog="Example: cellscout resume runs/digits-20261121-120000 --set budget.trials=200")
def resume(
    run_dir: RunDir,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Change a setting in budget, sampler, resources, faults or logging; confirmation.candidates, "
            "confirmation.trainings or confirmation.share; or data.root, if the images are elsewhere now. May be "
            "repeated.",
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Short for --set budget.trials=N.")] = None,
    address: Address = None,
    top: Top = 10,
    as_json: AsJson = False,
) -> None:
    """Continue a search that was stopped, or extend it with a larger budget."""
    from orchestrator.progress import Progress
    from orchestrator.search import resume_search

    changes = [*(changes or []), *([] if trials is None else [f"budget.trials={trials}"])]
    with stdout_to_stderr():
        result = resume_search(run_dir, changes, address=address, progress=Progress(Console(stderr=True)))
    _print_result(result, top, as_json)


@app.command(
    epilog="Example: cellscout submit search.toml --address http://127.0.0.1:8265 --run-dir /mnt/shared/runs/first",
)
def submit(
    search_file: Annotated[Path, typer.Argument(metavar="SEARCH.toml", help="The search file.")],
    address: Annotated[str, typer.Option("--address", help="The cluster's job server, http://HOST:8265.")],
    overrides: SetValues = None,
    run_dir: Annotated[
        str | None,
        typer.Option(
            "--run-dir",
            help="Where to write the record: an absolute path on storage of the cluster's head (of all nodes, if there "
            "are several), or a URI. Default: a new folder in run.storage.",
        ),
    ] = None,
    wheel: Annotated[
        Path | None,
        typer.Option(
            "--wheel",
            metavar="FILE",
            help="The wheel of cellscout to run there. Default: the cellscout that runs here.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the search to its end.")] = True,
    as_json: AsJson = False,
) -> None:
    """Run a search on a Ray cluster as a job.

    Cellscout, the search file and the modules beside it that it names are sent to the cluster.

    Their dependencies and the data must be on the cluster's nodes.
    """
    from dataclasses import asdict

    from orchestrator.cluster import submit as submit_search

    job = submit_search(
        search_file,
        address,
        overrides or [],
        run_dir=run_dir,
        wheel=wheel,
        wait=wait,
        show=lambda lines: typer.echo(lines, nl=False, err=as_json),
    )
    if as_json:
        print_json(asdict(job))
    elif wait:
        typer.echo(f"job {job.job_id}: {job.status}; the record is in {job.run_dir}")
    if wait and job.status != "SUCCEEDED":
        typer.echo(f"cellscout: job {job.job_id} ended as {job.status}: {job.message}", err=True)
        raise typer.Exit(1)


@app.command(epilog="Example: cellscout status runs/digits-20261121-120000")
def status(run_dir: RunDir, as_json: AsJson = False) -> None:
    """Show the state of a running or ended search."""
    from orchestrator.record import RecordedRun
    from orchestrator.report import doubt, report_json, run_summary

    run = RecordedRun.read(run_dir)
    state = run.state()
    if as_json:
        print_json(report_json(run, state, top=1))
    else:
        typer.echo("\n".join(filter(None, [doubt(run, state), run_summary(run, state)])))


@app.command(epilog="Example: cellscout report runs/digits-20261121-120000 --top 20")
def report(run_dir: RunDir, top: Top = 10, as_json: AsJson = False) -> None:
    """Write report.html and the Parquet tables, and print the leaderboard and the importance of each decision.

    Everything is computed from the events, while the search runs or after it.
    """
    from orchestrator.record import RecordedRun, write_tables
    from orchestrator.report import importance_json, importance_tables, importances, report_json, write_page

    run = RecordedRun.read(run_dir)
    state = run.state()
    write_tables(state, run.directory.folder, run.info.seed)
    page = write_page(run) if run.info.evaluation is None else None  # the search's page shows its evaluation
    mattered = importances(state)
    if as_json:
        found = report_json(run, state, top)
        print_json({**found, "importance": importance_json(mattered), "page": page})
        return
    _print_report(run, state=state, top=top, as_json=as_json)
    Console().print(importance_tables(mattered))


@app.command(epilog="Example: cellscout mirror runs/digits-20261121-120000 && optuna-dashboard runs/.../study.journal")
def mirror(
    run_dir: RunDir,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The journal file. Default: study.journal in the run directory, which then must be a folder.",
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Continue until the run has ended.")] = False,
) -> None:
    """Write the Optuna study of a run to a journal file for optuna-dashboard."""
    from orchestrator.study import write_journal

    journal, count = write_journal(run_dir, output, follow=follow)
    typer.echo(f"{count} ended trials in {journal}")


@app.command("list", epilog="Example: cellscout list spaces")
def list_names(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="What to list: spaces, cells, operations, skeletons, presets, samplers, schedulers, datasets or "
            "trainables.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """List the built-in names of one kind for search files and commands."""
    from orchestrator.cli.catalogue import catalogue
    from orchestrator.cli.listing import listing

    rows = catalogue(kind)
    if as_json:
        print_json(rows)
        return
    console = Console()
    console.print(listing(rows, console.width))


@app.command(epilog="Example: cellscout draw nasnet_a -o nasnet_a.svg")
def draw(
    architecture: ArchitectureName,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The picture: .svg, .png or .pdf.")],
) -> None:
    """Draw the cells of an architecture."""
    from orchestrator.record import find_network, title_of
    from orchestrator.report import draw as draw_cells

    draw_cells(find_network(architecture).architecture, output, title_of(architecture))
    typer.echo(f"wrote {output}")


@app.command(epilog="Example: cellscout costs nasnet_a --repeats 6 --filters 32")
def costs(
    architecture: ArchitectureName,
    skeleton: Annotated[
        str | None, typer.Option(help="The rules for building a network from cells (cellscout list skeletons).")
    ] = None,
    repeats: Annotated[int | None, typer.Option(max=64, help="N, the number of normal cells per stage.")] = None,
    filters: Annotated[int | None, typer.Option(max=4096, help="F, the number of channels in the first stage.")] = None,
    classes: Annotated[int | None, typer.Option(max=10**6, help="Number of classes.")] = None,
    image_size: Annotated[int | None, typer.Option(max=1024, help="Height and width of the images in pixels.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=10**6, help="Images per batch, for memory and latency.")] = 1,
    latency: Annotated[
        bool, typer.Option("--latency", help="Also measure the latency, on the GPU if there is one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a network's parameters, multiply-adds and memory without training it."""
    from orchestrator.cli.listing import values
    from orchestrator.networks import costs_report, with_changes
    from orchestrator.record import find_network

    found_spec = find_network(architecture)
    size = None if image_size is None else (image_size,) * len(found_spec.image_size)
    spec = with_changes(found_spec, skeleton, repeats=repeats, filters=filters, classes=classes, image_size=size)
    found = costs_report(spec, batch_size, latency)
    if as_json:
        print_json(found)
        return
    Console().print(values(found))


@app.command(epilog="Example: cellscout doctor --address auto --set resources.gpus_per_trial=0.25")
def doctor(
    search_file: Annotated[
        Path | None,
        typer.Argument(metavar="SEARCH.toml", help="The search file whose resources and storage are checked."),
    ] = None,
    overrides: SetValues = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Check what this machine or cluster can run, and report problems."""
    from dataclasses import asdict

    from orchestrator.cluster import examine
    from orchestrator.config import load_config
    from orchestrator.record import RunDirectory

    config = load_config(search_file, overrides or [])
    storage = RunDirectory.at(config.run.storage).folder.local_path

    findings = []
    console = Console()
    for finding in examine(address, storage, config.resources):
        findings.append(finding)
        if not as_json:
            colour = {"ok": "green", "warning": "yellow", "error": "red"}[finding.level]
            remedy = f" -> {finding.remedy}" if finding.remedy else ""
            console.print(f"[{colour}]{finding.level:<8}[/]{escape(finding.what + remedy)}", soft_wrap=True)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def _print_result(result: SearchResult, top: int, as_json: bool) -> None:
    from orchestrator.record import RecordedRun

    _print_report(RecordedRun(result.directory, result.info), state=result.state, top=top, as_json=as_json)
    if result.info.state == "interrupted":
        raise typer.Exit(130)  # the exit status that shells use for Ctrl-C
    if result.state.best is None:
        raise typer.Exit(1)


def _print_report(run: RecordedRun, *, state: RunState, top: int, as_json: bool) -> None:
    from orchestrator.report import doubt, leaderboard, report_json, run_summary

    if as_json:
        print_json(report_json(run, state, top))
        return
    first = doubt(run, state)
    if first is not None:
        typer.echo(first)
    if state.ranking():
        Console().print(leaderboard(state, top))
    typer.echo(run_summary(run, state))


def main() -> None:
    """Entry point of the command `cellscout`."""
    try:
        sys.path.append(_working_folder())  # search files may name its modules; installed packages come first
        with environment_variables(unless_set(SLEEPING_THREADS)):  # before a command imports PyTorch
            app()
    except CellscoutError as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"cellscout: {error}", err=True)
        sys.exit(error.exit_status)
    except BrokenPipeError:
        sys.exit(1)


def _working_folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError as error:
        raise InputError("the working folder does not exist any more; change to another one") from error
