"""The commands from a search to a network in use. No logic, as in `cli`, which takes them in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.cli_arguments import Address, AsJson, RunDir, print_json

networks = typer.Typer()


@networks.command(epilog="Example: cellscout evaluate runs/digits-20261121-120000 --top 5 --folds 5 --seeds 3")
def evaluate(
    run_dir: RunDir,
    top: Annotated[
        int | None,
        typer.Option("--top", help="How many of the best. Default: 5; with several objectives the whole Pareto front."),
    ] = None,
    folds: Annotated[int, typer.Option("--folds", help="Of the cross-validation.")] = 5,
    seeds: Annotated[
        int, typer.Option("--seeds", help="How many; each shuffles the images and begins each training differently.")
    ] = 3,
    baseline: Annotated[
        bool,
        typer.Option("--baseline/--no-baseline", help="Search at random at equal cost, and evaluate its best too."),
    ] = True,
    evaluation_dir: Annotated[
        str | None,
        typer.Option(
            "--evaluation-dir", help="Where the record goes: a folder or a URI. Default: evaluation/ in RUN_DIR."
        ),
    ] = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate the best of a search by cross-validation and several seeds, and say who wins.

    Each is trained in full, once for each fold of each seed, on the training and validation images. The same command
    again goes on where it stopped.
    """
    from orchestrator.evaluation.run import evaluate as evaluate_search
    from orchestrator.evaluation.settings import EvaluationSettings
    from orchestrator.evaluation.showing import summary, tables, to_json
    from orchestrator.progress import Progress

    settings = EvaluationSettings(top, folds, seeds, baseline)
    progress = Progress(Console(stderr=True))
    result = evaluate_search(run_dir, settings, evaluation_dir=evaluation_dir, address=address, progress=progress)
    found = result.outcome
    if as_json:
        outcome = None if found is None else to_json(found)
        print_json({"evaluation_dir": result.directory.location, "state": result.state, "outcome": outcome})
    elif found is None:
        typer.echo(f"evaluation  {result.directory}: {result.state} before anything was trained")
    else:
        Console().print(tables(found))
        typer.echo(summary(found, result.directory.location))
    if result.state == "interrupted":
        raise typer.Exit(130)
    if found is None or found.winner is None:
        raise typer.Exit(1)


@networks.command(
    epilog="Example: cellscout retrain runs/digits-20261121-120000 --repeats 6 --filters 32 --baseline resnet18",
)
def retrain(
    run_dir: RunDir,
    architecture: Annotated[
        str | None,
        typer.Option(
            "--architecture",
            help="A published cell (cellscout list cells), an architecture.json or network.json, or a run directory. "
            "Default: the winner.",
        ),
    ] = None,
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="NAME,...", help="two_convolutions, or torchvision's: resnet18, ...")
    ] = "",
    preset: Annotated[
        str | None, typer.Option("--preset", help="A paper's recipe (cellscout list presets). Default: the search's.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="training.KEY=VALUE", help="Change the recipe; may be repeated."),
    ] = None,
    repeats: Annotated[int | None, typer.Option(max=64, help="N, normal cells a stage.")] = None,
    filters: Annotated[int | None, typer.Option(max=4096, help="F, channels of the first stage.")] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="How many trainings of each network.")] = 1,
    early_stopping: Annotated[
        int | None,
        typer.Option(
            "--early-stopping",
            metavar="EPOCHS",
            help="Hold the validation images out, and end a training when so many epochs were no better.",
        ),
    ] = None,
    ema: Annotated[float, typer.Option("--ema", help="Decay of an average of the weights to test and keep.")] = 0.0,
    name: Annotated[str | None, typer.Option("--name", help="Of the network's folder in RUN_DIR/retrain.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a network in full from scratch, baselines beside it, and test each once.

    On the training and validation images of a search. The same command again goes on where it stopped.
    """
    from orchestrator.progress import Progress
    from orchestrator.retraining.result import notes, table
    from orchestrator.retraining.run import retrain as retrain_networks
    from orchestrator.retraining.settings import RetrainSettings

    settings = RetrainSettings(
        architecture=architecture,
        baselines=[word.strip() for word in baseline.split(",") if word.strip()],
        preset=preset,
        changes=changes or [],
        repeats=repeats,
        filters=filters,
        seeds=seeds,
        early_stopping=early_stopping,
        ema=ema,
        name=name,
    )
    result = retrain_networks(run_dir, settings, progress=Progress(Console(stderr=True)))
    if as_json:
        print_json({"is_whole": result.is_whole, "networks": [one.to_json() for one in result.networks]})
    else:
        Console().print(table(result.networks))
        typer.echo(notes(result.networks))
    if not result.is_whole:
        raise typer.Exit(130)
    if all(one.accuracy is None for one in result.networks):
        raise typer.Exit(1)


@networks.command(
    epilog="Example: cellscout explain runs/digits-20261121-120000 seven.png nine.png -o why.png",
)
def explain(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="A run directory (its retrained winner, or else its best), or .../retrain/NAME."
        ),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures to explain.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The drawing: .svg, .png or .pdf.")],
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="The class to explain. Default: the most probable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw why a network says what it says of pictures: Grad-CAM and integrated gradients.

    Needs the extra: pip install "cellscout[explain]".
    """
    from orchestrator.explanation import explain as explain_pictures

    explained = explain_pictures(network, images, output, class_name)
    if as_json:
        print_json({"output": str(output), **explained.to_json()})
        return
    for picture in explained.pictures:
        guesses = ", ".join(f"{name} ({value:.1%})" for name, value in explained.most_probable(picture))
        typer.echo(f"{picture.path}: {guesses}")
    typer.echo(f"explained in {output}")
