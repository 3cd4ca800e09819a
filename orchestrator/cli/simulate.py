"""The command `simulate`. No logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.cli.arguments import AsJson, command_of, print_json, split_words

simulations = typer.Typer()

SAMPLERS, SCHEDULERS = ["predictor", "tpe", "random"], ["asha"]
METAVAR = 'NAME,...|"NAME KEY=VALUE,..."'


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
    samplers: Annotated[list[str], typer.Option("--sampler", metavar=METAVAR)] = SAMPLERS,
    schedulers: Annotated[list[str], typer.Option("--scheduler", metavar=METAVAR)] = SCHEDULERS,
    workers: Annotated[str, typer.Option("--workers", metavar="NUMBER,...")] = "4",
    seeds: Annotated[int, typer.Option("--seeds")] = 10,
    trainings: Annotated[int | None, typer.Option("--trainings")] = None,
    answers: Annotated[str, typer.Option("--answers", metavar="nearest|surrogate")] = "nearest",
    target: Annotated[float, typer.Option("--target")] = 0.5,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the regret over time into this SVG, PNG or PDF file.")
    ] = None,
    space: Annotated[str | None, typer.Option("--space", help="Search space of a table. Default: nasnet.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare samplers and schedulers on recorded curves and a virtual clock, without training and without Ray."""
    from orchestrator.errors import ConfigError
    from orchestrator.progress import Progress
    from orchestrator.report import check_picture
    from orchestrator.simulation import (
        SimulateSettings,
        advise,
        draw_regrets,
        simulate_searches,
        simulation_json,
        simulation_notes,
        simulation_tables,
    )

    try:
        counts = [int(word) for word in split_words(workers)]
    except ValueError as error:
        raise ConfigError(f"--workers is {workers!r}; it must be whole numbers, separated by commas") from error
    settings = SimulateSettings(
        samplers=_choices(samplers),
        schedulers=_choices(schedulers),
        workers=counts,
        seeds=seeds,
        trainings=trainings,
        answers=answers,
        target=target,
    )
    if plot is not None:
        check_picture(plot)
    result = simulate_searches(record, settings, space_name=space, progress=Progress(Console(stderr=True)))
    if plot is not None:
        draw_regrets(result, plot)
    if as_json:
        print_json(simulation_json(result))
        return
    for table in simulation_tables(result):
        Console().print(table)
    typer.echo(simulation_notes(result))
    for advice in advise(result):
        Console().print(f"\n{advice.sentence}", markup=False, highlight=False)


def _choices(texts: list[str]) -> list[str]:
    """The names of lists, and names with settings, in which commas are between values."""
    return [choice for text in texts for choice in ([text] if "=" in text else split_words(text))]
