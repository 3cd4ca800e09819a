"""The commands that follow a search: evaluate, retrain, export, predict and explain. No logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.cli.arguments import (
    Address,
    AsJson,
    NetworkName,
    RunDir,
    command_of,
    print_json,
    split_words,
    stdout_to_stderr,
)
from orchestrator.words import counted

networks = typer.Typer()


@networks.command(
    cls=command_of("orchestrator.evaluation:EvaluationSettings"),
    epilog="Example: cellscout evaluate runs/digits-20261121-120000 --top 5 --folds 5 --seeds 3",
)
def evaluate(
    run_dir: RunDir,
    top: Annotated[int | None, typer.Option("--top")] = None,
    folds: Annotated[int, typer.Option("--folds")] = 5,
    seeds: Annotated[int, typer.Option("--seeds")] = 1,
    baseline: Annotated[bool, typer.Option("--baseline/--no-baseline")] = True,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="data.root=PATH")] = None,
    evaluation_dir: Annotated[
        str | None,
        typer.Option(
            "--evaluation-dir", help="Where to write the record: a folder or a URI. Default: evaluation/ in RUN_DIR."
        ),
    ] = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Compare the best candidates of a search by cross-validation with several seeds.

    Each candidate is trained in full on the training and validation images, once for each fold and seed.

    The same command resumes an interrupted evaluation.
    """
    from orchestrator.evaluation import EvaluationSettings, evaluation_json, evaluation_summary, evaluation_tables
    from orchestrator.evaluation import evaluate as evaluate_search
    from orchestrator.progress import Progress

    settings = EvaluationSettings(top=top, folds=folds, seeds=seeds, baseline=baseline, changes=changes or [])
    progress = Progress(Console(stderr=True))
    with stdout_to_stderr():
        result = evaluate_search(run_dir, settings, evaluation_dir=evaluation_dir, address=address, progress=progress)
    found = result.outcome
    if as_json:
        outcome = None if found is None else evaluation_json(found)
        print_json({"evaluation_dir": result.directory.location, "state": result.state, "outcome": outcome})
    elif found is None:
        typer.echo(
            f"evaluation  {result.directory}: {result.state} in its random search; the same command continues it"
        )
    else:
        Console().print(evaluation_tables(found))
        typer.echo(evaluation_summary(found, result.directory.location))
    if result.state == "interrupted":
        raise typer.Exit(130)
    if found is None or not found.is_whole:
        raise typer.Exit(1)


@networks.command(
    cls=command_of("orchestrator.networks:RetrainSettings"),
    epilog="Example: cellscout retrain runs/digits-20261121-120000 --repeats 6 --filters 32 --baseline resnet18",
)
def retrain(
    run_dir: RunDir,
    architecture: Annotated[str | None, typer.Option("--architecture")] = None,
    baselines: Annotated[str, typer.Option("--baseline", metavar="NAME,...")] = "",
    preset: Annotated[str | None, typer.Option("--preset")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="training.KEY=VALUE")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs")] = None,
    repeats: Annotated[int | None, typer.Option("--repeats")] = None,
    filters: Annotated[int | None, typer.Option("--filters")] = None,
    seeds: Annotated[int, typer.Option("--seeds")] = 1,
    early_stopping: Annotated[int | None, typer.Option("--early-stopping", metavar="EPOCHS")] = None,
    ema: Annotated[float, typer.Option("--ema")] = 0.0,
    workers: Annotated[int, typer.Option("--workers")] = 1,
    threads: Annotated[int | None, typer.Option("--threads")] = None,
    address: Annotated[str | None, typer.Option("--address")] = None,
    compiled: Annotated[bool, typer.Option("--compile")] = False,
    name: Annotated[str | None, typer.Option("--name")] = None,
    weights: Annotated[list[str] | None, typer.Option("--weights", metavar="[BASELINE=]WEIGHTS")] = None,
    freeze: Annotated[bool, typer.Option("--freeze")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a network in full, from scratch or from given weights, and baselines beside it, and test each once.

    Uses the search's training and validation images.

    The same command resumes an interrupted retraining.
    """
    from orchestrator.networks import RetrainSettings, retraining_notes, retraining_table
    from orchestrator.networks import retrain as retrain_networks
    from orchestrator.progress import Progress

    settings = RetrainSettings(
        architecture=architecture,
        baselines=split_words(baselines),
        preset=preset,
        changes=changes or [],
        epochs=epochs,
        repeats=repeats,
        filters=filters,
        seeds=seeds,
        early_stopping=early_stopping,
        ema=ema,
        workers=workers,
        threads=threads,
        address=address,
        compiled=compiled,
        name=name,
        weights=weights or [],
        freeze=freeze,
    )
    with stdout_to_stderr():
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


@networks.command(
    cls=command_of("orchestrator.networks:ExportSettings"),
    epilog="Example: cellscout export runs/digits-20261121-120000 --format onnx --int8",
)
def export(
    network: NetworkName,
    format: Annotated[str, typer.Option("--format")] = "onnx",
    int8: Annotated[bool, typer.Option("--int8")] = False,
    prune: Annotated[str | None, typer.Option("--prune", metavar="KIND:FRACTION")] = None,
    fine_tune: Annotated[int | None, typer.Option("--fine-tune", metavar="EPOCHS")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="data.root=PATH")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a trained network to a file for use without cellscout, and compare the file with PyTorch.

    The file is written into export/ in the network's folder.

    It contains the preprocessing of its images and the names of its classes.
    """
    from orchestrator.networks import ExportSettings, export_json, export_network, export_notes, export_table
    from orchestrator.progress import Progress

    settings = ExportSettings(format=format, int8=int8, prune=prune, fine_tune=fine_tune, changes=changes or [])
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
            help="An exported file (.onnx, .pt2, .pte), or a NETWORK as for export. A .pt2 runs code: open only files "
            "that you trust.",
        ),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Pictures and folders of pictures; for a network for signals, WAV files and .npy arrays; for texts, "
            ".txt files of one text each.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Table to write, with one row per file and one column per class: .csv or .parquet. Or for masks a "
            "folder, for each picture a mask (.mask.png) and the picture under it (.over.png).",
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Number of classes to print for each file.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Classify pictures, signals or texts with a network, and print the most probable classes; or segment pictures.

    Files in a folder that cannot be read are reported and left out; the exit status is then 1.
    """
    from orchestrator.networks import check_output, write_predictions
    from orchestrator.networks import predict as predict_images

    if output is not None:
        check_output(output)
    found = predict_images(model, images)
    if output is not None:
        write_predictions(found, output)
    if found.folder is not None:
        typer.echo(f"with the network in {found.folder}", err=True)
    for line in found.unreadable:
        typer.echo(f"cellscout: {line}", err=True)
    if as_json:
        print_json(found.to_json())
    elif output is not None:
        typer.echo(f"{counted(len(found.pictures), found.kind)} in {output}")
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
            metavar="NETWORK", help="A run directory (its winner, retrained if it is), or .../retrain/NAME."
        ),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures to explain.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The drawing: .svg, .png or .pdf.")],
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="The class to explain. Default: the most probable one."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw which parts of pictures speak for a class: Grad-CAM and integrated gradients.

    Needs the extra: pip install "cellscout\\[explain]".
    """
    from orchestrator.networks import explain as explain_pictures
    from orchestrator.networks import line_of

    explained = explain_pictures(network, images=images, output=output, class_name=class_name)
    if as_json:
        print_json({"output": str(output), **explained.to_json()})
        return
    typer.echo(f"with the network in {explained.network}", err=True)
    for picture in explained.pictures:
        typer.echo(line_of(picture.path, explained.most_probable(picture)))
    typer.echo(f"explained in {output}")
