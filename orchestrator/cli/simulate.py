"""The command `simulate`. No logic."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from orchestrator.cli.arguments import AsJson, command_of, print_json, split_words

simulations = typer.Typer()


@simulations.command(
    cls=command_of("orchestrator.simulation:SimulateSettings"),
    epilog="Example: cellscout simulate runs/digits-20261121-120000 --sampler tpe,random --workers 1,8",
)
def simulate(
    record: Annotated[
        str,
        typer.Argument(
            metavar="RUN_DIR|TABLE",
            help="A run directory, or a trials.parquet with its epochs.parquet beside it. Only candidates that were "
            "trained in full are used; a search with scheduler.name=fifo trains all of them in full.",
        ),
    ],
    samplers: Annotated[str, typer.Option("--sampler", metavar="NAME,...")] = "predictor,tpe,random",
    schedulers: Annotated[str, typer.Option("--scheduler", metavar="NAME,...")] = "asha",
    workers: Annotated[str, typer.Option("--workers", metavar="NUMBER,...")] = "4",
    seeds: Annotated[int, typer.Option("--seeds")] = 5,
    trainings: Annotated[int | None, typer.Option("--trainings")] = None,
    space: Annotated[str | None, typer.Option("--space", help="Search space of a table. Default: nasnet.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare samplers and schedulers on recorded curves and a virtual clock, without training and without Ray."""
    from orchestrator.errors import ConfigError
    from orchestrator.progress import Progress
    from orchestrator.simulation import (
        SimulateSettings,
        simulate_searches,
        simulation_json,
        simulation_notes,
        simulation_table,
    )

    try:
        counts = [int(word) for word in split_words(workers)]
    except ValueError as error:
        raise ConfigError(f"--workers is {workers!r}; it must be whole numbers, separated by commas") from error
    settings = SimulateSettings(
        samplers=split_words(samplers),
        schedulers=split_words(schedulers),
        workers=counts,
        seeds=seeds,
        trainings=trainings,
    )
    result = simulate_searches(record, settings, space_name=space, progress=Progress(Console(stderr=True)))
    if as_json:
        print_json(simulation_json(result))
        return
    Console().print(simulation_table(result))
    typer.echo(simulation_notes(result))
