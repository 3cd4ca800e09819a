"""The examples. (The documentation's commands and code: tests/test_documentation.py.)"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.run_directory import RunDirectory
from tests.test_datasets import write_fashion_mnist
from trainables.network_spec import NetworkSpec
from trainables.skeleton import PNASNET_CIFAR

ROOT = Path(__file__).parents[1]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.mark.slow
def test_train_nasnet_learns_the_digits(tmp_path: Path) -> None:
    out = run(str(ROOT / "examples" / "train_nasnet.py"), "--epochs", "2", cwd=tmp_path).stdout
    lines = re.findall(r"epoch +(\d+)  loss ([\d.]+)  accuracy ([\d.]+)", out)
    assert [int(epoch) for epoch, _, _ in lines] == [1, 2]
    assert float(lines[1][2]) > max(0.5, float(lines[0][2]))


@pytest.mark.slow
def test_the_fashion_mnist_example_reads_torchvisions_files(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path / "data")
    shortened = ["--set", "budget.trials=1", "--set", "training.epochs=1", "--set", "network.filters=2"]
    run("-m", "orchestrator.cli", "search", str(ROOT / "examples" / "fashion_mnist.toml"), *shortened, cwd=tmp_path)
    (folder,) = (tmp_path / "runs").iterdir()
    assert RunDirectory.at(folder).read_info().data["image_shape"] == [28, 28, 1]


@pytest.mark.slow
def test_a_space_of_ones_own_is_searched(tmp_path: Path) -> None:
    """In the folder where its module lies, as the example says."""
    for name in ("own_space.py", "own_space.toml"):
        (tmp_path / name).write_text((ROOT / "examples" / name).read_text())
    shortened = ["--set", "budget.trials=2", "--set", "training.epochs=1", "--set", "network.filters=2"]
    run("-m", "orchestrator.cli", "search", "own_space.toml", "--run-dir", "run", *shortened, cwd=tmp_path)
    network = NetworkSpec.from_json(json.loads((tmp_path / "run" / "best" / "network.json").read_text()))
    assert network.skeleton == PNASNET_CIFAR
    assert len(network.architecture.normal.blocks) == 3
    assert network.architecture.normal == network.architecture.reduction


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "shortened"),
    [
        ("sampler", ["budget.trials=4", "training.epochs=2", "network.filters=2"]),
        ("scheduler", ["budget.trials=4", "training.epochs=6", "network.filters=2"]),
        ("trainable", ["budget.trials=6"]),
    ],
)
def test_parts_of_ones_own_are_run_from_a_search_file(part: str, shortened: list[str], tmp_path: Path) -> None:
    for name in (f"own_{part}.py", f"own_{part}.toml"):
        (tmp_path / name).write_text((ROOT / "examples" / name).read_text())
    overrides = [word for setting in shortened for word in ("--set", setting)]
    command = ["search", f"own_{part}.toml", "--run-dir", "run", "--json", *overrides]
    found = json.loads(run("-m", "orchestrator.cli", *command, cwd=tmp_path).stdout)
    assert found["state"] == "completed"
    assert found["best"]["val_accuracy"] > 0.05
    if part == "trainable":
        assert found["objectives"] == {"val_accuracy": "maximize", "margin": "maximize"}
        assert all("margin" in trial["metrics"] for trial in found["front"])
    if part == "scheduler":
        assert found["trials"].get("pruned", 0) + found["trials"]["completed"] == 4


def test_a_sampler_of_ones_own_takes_thirty_lines() -> None:
    code = (ROOT / "examples" / "own_sampler.py").read_text()
    lines = [line for line in code[code.index("import numpy") :].splitlines() if line.strip()]
    assert len(lines) <= 30


@pytest.mark.slow
def test_pretrained_weights_are_loaded(tmp_path: Path) -> None:
    out = run(str(ROOT / "examples" / "pretrained.py"), "nasnetalarge", cwd=tmp_path).stdout
    assert len(re.findall(r"class +\d+  0\.\d{4}", out)) == 3


def test_the_public_names_are_these() -> None:
    import orchestrator
    import search_spaces
    import trainables

    assert sorted(orchestrator.__all__) == [
        "EvaluationResult",
        "EvaluationSettings",
        "RetrainResult",
        "RetrainSettings",
        "SearchConfig",
        "SearchResult",
        "evaluate",
        "load_config",
        "load_study",
        "resume_search",
        "retrain",
        "run_search",
    ]
    assert sorted(search_spaces.__all__) == sorted(
        [
            "AMOEBANET",
            "DARTS",
            "ENAS",
            "NASNET",
            "NASNET_A",
            "NAS_BENCH_201",
            "PNASNET",
            "PUBLISHED",
            "SPACES",
            "Architecture",
            "Block",
            "Cell",
            "CellSpace",
            "Edge",
            "Published",
        ]
    )
    assert sorted(trainables.__all__) == sorted(
        ["TRAINABLES", "CellTrainable", "EpochTrainable", "InstantTrainable", "NetworkSpec", "TrialPlan"]
    )
    for package in (orchestrator, search_spaces, trainables):
        assert all(getattr(package, name) is not None for name in package.__all__)
