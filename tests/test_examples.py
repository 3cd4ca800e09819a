"""The examples and the README's commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.config import parse_config
from orchestrator.run_directory import RunDirectory
from tests.test_datasets import write_fashion_mnist
from trainables.network_spec import NetworkSpec
from trainables.skeleton import PNASNET_CIFAR

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


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
def test_a_newcomers_images_become_a_network_in_use(tmp_path: Path) -> None:
    """The README's way, with its search file shortened and its Python code as it stands."""
    for name, colour in (("daisy", 200), ("rose", 50)):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for index in range(30):
            Image.new("RGB", (40, 30), (colour, index, 90)).save(tmp_path / "flowers" / name / f"{index:03}.jpg")
    search_file = str(ROOT / "examples" / "image_folder.toml")
    shortened = ["--set", "budget.trials=2", "--set", "training.epochs=2", "--set", "network.filters=4"]
    command = ["search", search_file, "--set", "data.root=flowers", "--run-dir", "runs/flowers", *shortened]
    run("-m", "orchestrator.cli", *command, cwd=tmp_path)
    (code,) = [block for block in code_blocks("python") if "load_state_dict" in block]
    assert run("-c", code, cwd=tmp_path).stdout in ("daisy\n", "rose\n")


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


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_readmes_search_file_is_the_cifar10_example() -> None:
    shown, *others = code_blocks("toml")
    example = tomllib.loads((ROOT / "examples" / "cifar10.toml").read_text())
    assert parse_config(tomllib.loads(shown), "README") == parse_config(example, "example")
    assert len(others) == 2
    assert parse_config(tomllib.loads(others[0]), "README").objectives.directions == {
        "val_accuracy": "maximize",
        "macs": "minimize",
    }
    assert parse_config(tomllib.loads(others[1]), "README").warm_start.runs


def test_the_readme_names_only_commands_that_exist() -> None:
    named = set(re.findall(r"cellscout (\w+) ?(?:RUN_DIR|examples|spaces|nasnet_a|$|`)", README, flags=re.MULTILINE))
    assert named == {
        "evaluate",
        "explain",
        "export",
        "predict",
        "status",
        "report",
        "resume",
        "retrain",
        "mirror",
        "search",
        "submit",
        "list",
        "draw",
        "costs",
        "doctor",
        "simulate",
    }


def test_the_readmes_faults_are_each_shown_by_tests_that_exist() -> None:
    """Each is named in full, or by its beginning, which no other test's name has, and three dots."""
    files = (path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    tests = {name for text in files for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}
    rows = README.partition("| fault |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(rows) >= 15
    for row in rows:
        named = re.findall(r"`(test_\w+?)(\.\.\.)?`", row.split("|")[-2])
        assert named, row
        for name, dots in named:
            assert sum(test.startswith(name) if dots else test == name for test in tests) == 1, name


@pytest.mark.slow
def test_the_readmes_search_from_python_runs(tmp_path: Path) -> None:
    (code,) = [block for block in code_blocks("python") if "run_search" in block]
    code = code.replace('["budget.trials=30"]', '["budget.trials=2", "training.epochs=2", "trainable.name=instant"]')
    score, folder = run("-c", code, cwd=tmp_path).stdout.split()
    assert 0 < float(score) <= 1
    assert json.loads((tmp_path / folder / "run.json").read_text())["state"] == "completed"
    (code,) = [block for block in code_blocks("python") if "load_study(" in block]
    told = run("-c", code.replace("runs/digits-20261121-120000", folder), cwd=tmp_path).stdout
    assert "normal.0.left.operation" in told
    assert "COMPLETE" in told
    (code,) = [block for block in code_blocks("python") if "EvaluationSettings(" in block]
    code = code.replace("runs/digits-20261121-120000", folder).replace("folds=3, seeds=2", "folds=2, seeds=1")
    assert "Spread(mean=" in run("-c", code, cwd=tmp_path).stdout


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
