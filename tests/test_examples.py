"""The examples. (The documentation's commands and code: tests/test_documentation.py.)"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator.record.run_directory import RunDirectory
from tests.commands import run
from tests.documentation import ROOT
from tests.image_files import write_fashion_mnist
from tests.own_ray import Head
from trainables.network_spec import NetworkSpec
from trainables.skeleton import PNASNET_CIFAR

ONE_TRAINING_AT_A_TIME = ["confirmation.candidates=0", "resources.cpus_per_trial=2"]
"""A worker spends seconds on importing PyTorch; two, and those of a confirmation, would spend as much again."""


def searched(cellscout: Any, *arguments: str) -> str:
    """What a search said that ran in this process, with its Ray."""
    ended = cellscout("search", *arguments)
    assert ended.status == 0, ended.err
    return str(ended.out)


def ran(folder: Path, command: str, *arguments: str, ray: Head | None = None) -> str:
    """What a command said that ran in the folder in a process of its own, on a Ray that runs already."""
    environment, join = ({}, []) if ray is None else (ray.environment, ["--address", ray.address])
    words = ["-m", "orchestrator.cli", command, *arguments, *join]
    return str(run(*words, cwd=folder, environment={**os.environ, **environment}).stdout)


@pytest.mark.slow
def test_train_nasnet_learns_the_digits(tmp_path: Path) -> None:
    out = run(str(ROOT / "examples" / "train_nasnet.py"), "--epochs", "2", cwd=tmp_path).stdout
    lines = re.findall(r"epoch +(\d+)  loss ([\d.]+)  accuracy ([\d.]+)", out)
    assert [int(epoch) for epoch, _, _ in lines] == [1, 2]
    assert float(lines[1][2]) > max(0.5, float(lines[0][2]))


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_the_fashion_mnist_example_reads_torchvisions_files(cellscout: Any, tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path / "data")
    shortened = settings("budget.trials=1", "training.epochs=1", "network.filters=2", "confirmation.candidates=0")
    searched(cellscout, str(ROOT / "examples" / "fashion_mnist.toml"), *shortened)
    (folder,) = (tmp_path / "runs").iterdir()
    assert RunDirectory.at(folder).read_info().data["image_shape"] == [28, 28, 1]


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_space_of_ones_own_is_searched(cellscout: Any, tmp_path: Path) -> None:
    """In the folder where its module lies, as the example says."""
    search_file = copied("space", tmp_path)
    shortened = settings("budget.trials=2", "training.epochs=1", "network.filters=2", "data.limit=400")
    searched(cellscout, search_file, "--run-dir", "run", *shortened)
    network = NetworkSpec.from_json(json.loads((tmp_path / "run" / "best" / "network.json").read_text()))
    assert network.skeleton == PNASNET_CIFAR
    assert len(network.architecture.normal.blocks) == 3
    assert network.architecture.normal == network.architecture.reduction


@pytest.mark.slow
def test_operations_of_ones_own_are_searched_retrained_and_exported(tmp_path: Path, lasting_ray: Head) -> None:
    """In processes of their own, as each finds the operations by their names in the record."""
    small = settings("training.epochs=1", "network.filters=2", "data.limit=400", "scheduler.name=fifo")
    small += settings("budget.trials=3", *ONE_TRAINING_AT_A_TIME)
    command = ["search", copied("operation", tmp_path), "--run-dir", "run", "--json", *small]
    found = json.loads(ran(tmp_path, *command, ray=lasting_ray))
    assert found["trials"] == {"completed": 3}
    assert any("own_operation:" in json.dumps(trial["architecture"]) for trial in found["leaderboard"])
    trial = next(trial for trial in found["leaderboard"] if "own_operation:" in json.dumps(trial["architecture"]))
    (tmp_path / "architecture.json").write_text(json.dumps(trial["architecture"]))
    costs = json.loads(ran(tmp_path, "costs", "architecture.json", "--repeats", "1", "--filters", "2", "--json"))
    assert costs["parameters"] > 0
    ran(tmp_path, "retrain", "run", "--architecture", "architecture.json", "--set", "training.epochs=1")
    (retrained,) = (tmp_path / "run" / "retrain").iterdir()
    ran(tmp_path, "export", f"run/retrain/{retrained.name}", "--format", "torch-export")
    assert list(retrained.rglob("*.pt2"))


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("part", "epochs"), [("sampler", 2), ("scheduler", 6)])
def test_parts_of_ones_own_are_run_from_a_search_file(part: str, epochs: int, cellscout: Any, tmp_path: Path) -> None:
    search_file = copied(part, tmp_path)
    shortened = settings("budget.trials=4", f"training.epochs={epochs}", "network.filters=2", "data.limit=400")
    shortened += settings("confirmation.candidates=0")
    found = json.loads(searched(cellscout, search_file, "--run-dir", "run", "--json", *shortened))
    assert found["state"] == "completed"
    assert found["best"]["val_accuracy"] > 0.05
    if part == "scheduler":
        assert found["trials"].get("pruned", 0) + found["trials"]["completed"] == 4


@pytest.mark.slow
def test_a_trainable_of_ones_own_is_run_from_a_search_file(tmp_path: Path, lasting_ray: Head) -> None:
    """In a process of its own, from which the workers know the folder with the module."""
    command = ["search", copied("trainable", tmp_path), "--run-dir", "run", "--json"]
    command += settings("budget.trials=6", *ONE_TRAINING_AT_A_TIME)
    found = json.loads(ran(tmp_path, *command, ray=lasting_ray))
    assert found["state"] == "completed"
    assert found["best"]["val_accuracy"] > 0.05
    assert found["objectives"] == {"val_accuracy": "maximize", "margin": "maximize"}
    assert all("margin" in trial["metrics"] for trial in found["front"])


@pytest.mark.slow
def test_a_task_of_ones_own_is_searched_and_reported(cellscout: Any, tmp_path: Path, lasting_ray: Head) -> None:
    """In a process of its own, whose workers find the task by its name."""
    command = ["search", copied("task", tmp_path), "--run-dir", "run"]
    command += settings("budget.trials=2", "training.epochs=1", "network.filters=2", "data.options.count=200")
    ran(tmp_path, *command, *settings(*ONE_TRAINING_AT_A_TIME), ray=lasting_ray)
    facts = RunDirectory.at(tmp_path / "run").read_info().data
    assert (facts["outputs"], facts["classes"]) == ("numbers", ["dots"])
    assert "accuracy    is the explained variance" in cellscout("status", "run").out


def copied(part: str, folder: Path) -> str:
    """The search file of an example, which is copied into a folder with its module."""
    for name in (f"own_{part}.py", f"own_{part}.toml"):
        (folder / name).write_text((ROOT / "examples" / name).read_text())
    return f"own_{part}.toml"


def settings(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


@pytest.mark.parametrize("part", ["sampler", "loop"])
def test_a_sampler_or_a_loop_of_ones_own_takes_thirty_lines(part: str) -> None:
    code = (ROOT / "examples" / f"own_{part}.py").read_text()
    lines = [line for line in code[code.index("\nimport ") :].splitlines() if line.strip()]
    assert len(lines) <= 30


@pytest.mark.slow
def test_a_loop_of_ones_own_goes_on_after_its_end(tmp_path: Path) -> None:
    command = [str(ROOT / "examples" / "own_loop.py"), "run"]
    small = ["training.epochs=1", "network.filters=2", "data.limit=400", "space.blocks=2", *ONE_TRAINING_AT_A_TIME]
    first = run(*command, "budget.trials=9", *small, cwd=tmp_path).stdout
    assert len(re.findall(r"^\d{5} completed 0\.", first, flags=re.MULTILINE)) == 9
    again = run(*command, cwd=tmp_path).stdout
    assert again == "the winner is in run/best\n" == first.splitlines(keepends=True)[-1]  # its budget is spent


@pytest.mark.slow
def test_pretrained_weights_are_loaded(tmp_path: Path) -> None:
    out = run(str(ROOT / "examples" / "pretrained.py"), "nasnetalarge", cwd=tmp_path).stdout
    assert len(re.findall(r"class +\d+  0\.\d{4}", out)) == 3


@pytest.mark.slow
def test_a_procedure_of_ones_own_trains_the_search_and_its_winner(tmp_path: Path, lasting_ray: Head) -> None:
    """In processes of their own, as each finds the procedure by its name in the record."""
    search_file = copied("procedure", tmp_path)
    small = settings("budget.trials=2", "training.epochs=2", "network.filters=2", "data.limit=400")
    small += settings(*ONE_TRAINING_AT_A_TIME)
    ran(tmp_path, "search", search_file, "--run-dir", "run", *small, ray=lasting_ray)
    epochs = pq.read_table(tmp_path / "run" / "epochs.parquet").to_pandas()
    assert epochs["in_two_best"].between(0.1, 1.0).all()
    ran(tmp_path, "retrain", "run", "--name", "again")
    info = json.loads((tmp_path / "run" / "retrain" / "again" / "retrain.json").read_text())
    assert info["asked"]["procedure"] == "own_procedure:Mixup"
