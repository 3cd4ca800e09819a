"""The commands from a search to a network in use. No logic, as in `cli`, which takes them in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.cli.arguments import Address, AsJson, NetworkName, RunDir, print_json

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
    from orchestrator.evaluation import EvaluationSettings, evaluation_json, evaluation_summary, evaluation_tables
    from orchestrator.evaluation import evaluate as evaluate_search
    from orchestrator.progress import Progress

    settings = EvaluationSettings(top=top, folds=folds, seeds=seeds, baseline=baseline)
    progress = Progress(Console(stderr=True))
    result = evaluate_search(run_dir, settings, evaluation_dir=evaluation_dir, address=address, progress=progress)
    found = result.outcome
    if as_json:
        outcome = None if found is None else evaluation_json(found)
        print_json({"evaluation_dir": result.directory.location, "state": result.state, "outcome": outcome})
    elif found is None:
        typer.echo(f"evaluation  {result.directory}: {result.state} before anything was trained")
    else:
        Console().print(evaluation_tables(found))
        typer.echo(evaluation_summary(found, result.directory.location))
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
            help="A published cell (cellscout list cells), an architecture.json or network.json, a run directory, or "
            "RUN_DIR#TRIAL, a trial of its leaderboard. Default: the winner.",
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
    workers: Annotated[
        int, typer.Option("--workers", help="Processes that train a network together, each on a GPU if there are any.")
    ] = 1,
    address: Address = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Let PyTorch compile the network first.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Of the network's folder in RUN_DIR/retrain.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="[BASELINE=]WEIGHTS",
            help="Start from the weights of another training: a safetensors file, or a network's folder, such as "
            "RUN_DIR/best or RUN_DIR/retrain/NAME. Classes may differ. May be repeated.",
        ),
    ] = None,
    freeze: Annotated[bool, typer.Option("--freeze", help="With --weights: train the classifier alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a network in full, from scratch or from given weights, baselines beside it, and test each once.

    On the training and validation images of a search. The same command again goes on where it stopped.
    """
    from orchestrator.networks import RetrainSettings, retraining_notes, retraining_table
    from orchestrator.networks import retrain as retrain_networks
    from orchestrator.progress import Progress

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
        workers=workers,
        address=address,
        compiled=compiled,
        name=name,
        weights=weights or [],
        freeze=freeze,
    )
    result = retrain_networks(run_dir, settings, progress=Progress(Console(stderr=True)))
    if as_json:
        print_json({"is_whole": result.is_whole, "networks": [one.to_json() for one in result.networks]})
    else:
        Console().print(retraining_table(result.networks))
        typer.echo(retraining_notes(result.networks))
    if not result.is_whole:
        raise typer.Exit(130)
    if all(one.accuracy is None for one in result.networks):
        raise typer.Exit(1)


@networks.command(epilog="Example: cellscout export runs/digits-20261121-120000 --format onnx --int8")
def export(
    network: NetworkName,
    format: Annotated[str, typer.Option("--format", help="onnx, torch-export or executorch.")] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise to 8 bits, after 256 training images (static, a channel).")
    ] = False,
    prune: Annotated[
        str | None,
        typer.Option(
            "--prune",
            metavar="KIND:FRACTION",
            help="Set weights:0.5 or channels:0.3 of each layer to zero, by magnitude, first.",
        ),
    ] = None,
    fine_tune: Annotated[
        int | None, typer.Option("--fine-tune", metavar="EPOCHS", help="Training after the pruning. Default: 5.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a trained network as a file for use elsewhere, and hold it against PyTorch.

    Into export/ in the network's folder. The file says what its images must be like and what its classes are called.
    """
    from orchestrator.networks import ExportSettings, export_json, export_network, export_notes, export_table
    from orchestrator.progress import Progress

    settings = ExportSettings(format=format, int8=int8, prune=prune, fine_tune=fine_tune)
    result = export_network(network, settings, progress=Progress(Console(stderr=True)))
    if as_json:
        print_json(export_json(result))
        return
    console = Console()
    console.print(export_table(result))
    console.print(export_notes(result), soft_wrap=True)


@networks.command(
    epilog="Example: cellscout predict runs/digits-20261121-120000/best/export/model.onnx scans --output digits.csv"
)
def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An exported file (.onnx, .pt2, .pte), or as for export. A .pt2 runs code: only from whom you trust.",
        ),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures, and folders of pictures.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A row a picture and a column a class: .csv or .parquet."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many classes of each picture to print.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Say what a network sees in pictures: classes with their probabilities.

    A picture in a folder that cannot be read is named, the others are answered, and the exit status is 1.
    """
    from orchestrator.networks import check_output, write_predictions
    from orchestrator.networks import predict as predict_images

    if output is not None:
        check_output(output)
    found = predict_images(model, images)
    if output is not None:
        write_predictions(found, output)
    for line in found.unreadable:
        typer.echo(f"cellscout: {line}", err=True)
    if as_json:
        print_json(found.to_json())
    elif output is not None:
        typer.echo(f"{len(found.pictures)} pictures in {output}")
    else:
        typer.echo("\n".join(found.lines(top)))
    if found.unreadable:
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
    from orchestrator.networks import explain as explain_pictures

    explained = explain_pictures(network, images, output, class_name)
    if as_json:
        print_json({"output": str(output), **explained.to_json()})
        return
    for picture in explained.pictures:
        guesses = ", ".join(f"{name} ({value:.1%})" for name, value in explained.most_probable(picture))
        typer.echo(f"{picture.path}: {guesses}")
    typer.echo(f"explained in {output}")
