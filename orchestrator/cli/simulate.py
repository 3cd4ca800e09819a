"""`cellscout simulate`. No logic, as in `cli`, which takes it in."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from orchestrator.cli.arguments import AsJson, print_json

simulations = typer.Typer()


@simulations.command(
    epilog="Example: cellscout simulate runs/digits-20261121-120000 --sampler tpe,random --workers 1,8",
)
def simulate(
    record: Annotated[
        str,
        typer.Argument(
            metavar="RUN_DIR|TABLE",
            help="A run directory, or a trials.parquet with its epochs.parquet beside it. Candidates that were trained "
            "in full count; a search with scheduler.name=fifo records such ones only.",
        ),
    ],
    sampler: Annotated[str, typer.Option("--sampler", metavar="NAME,...", help="See cellscout list samplers.")] = (
        "predictor,tpe,random"
    ),
    scheduler: Annotated[
        str, typer.Option("--scheduler", metavar="NAME,...", help="See cellscout list schedulers.")
    ] = "asha",
    workers: Annotated[str, typer.Option("--workers", metavar="NUMBER,...", help="Trials that run at a time.")] = "4",
    seeds: Annotated[int, typer.Option("--seeds", help="Searches of each combination.")] = 5,
    trainings: Annotated[
        int | None,
        typer.Option(
            "--trainings",
            help="The time of a search: so many whole trainings, of all workers together. Default: a tenth of the "
            "candidates on record.",
        ),
    ] = None,
    space: Annotated[str | None, typer.Option("--space", help="Of a table. Default: nasnet.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare samplers and schedulers against recorded curves, on a virtual clock.

    Nothing is trained, and Ray does not run.
    """
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
        counts = [int(word) for word in _words(workers)]
    except ValueError as error:
        raise ConfigError(f"--workers is {workers!r}; it must be whole numbers with commas between") from error
    settings = SimulateSettings(
        samplers=_words(sampler),
        schedulers=_words(scheduler),
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


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
