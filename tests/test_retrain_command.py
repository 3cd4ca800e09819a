"""`cellscout retrain`: whole, killed and started again, and with input that cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

SMALL = ["data.limit=200", "budget.trials=2", "training.epochs=2", "network.filters=4", "space.blocks=2"]
LONG = ["--set", "training.epochs=60", "--baseline", "two_convolutions"]


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def cellscout(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = command(folder, *arguments)
    out, err = process.communicate()
    assert "Traceback" not in err
    return process.returncode, out, err


def facts(folder: Path) -> list[Any]:
    """Of the last record of each epoch, without times."""
    rows = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    last = {(row["seed"], row["epoch"]): row for row in rows if row["event"] == "epoch_trained"}
    return [(key, row["train_loss"], row["train_accuracy"]) for key, row in sorted(last.items())]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_digits_are_retrained_tested_once_and_told_again(tmp_path: Path) -> None:
    options = [word for setting in SMALL for word in ("--set", setting)]
    assert cellscout(tmp_path, "search", "--run-dir", "run", *options)[0] == 0
    short = ["retrain", "run", "--set", "training.epochs=3", "--seeds", "2", "--baseline", "two_convolutions"]
    status, out, err = cellscout(tmp_path, *short, "--json")
    assert status == 0, err
    found = json.loads(out)["networks"]
    assert [one["name"] for one in found] == ["best", "two_convolutions"]
    assert [one["test_number"] for one in found] == [1, 1]
    place = tmp_path / "run" / "retrain" / "best"
    before = (place / "events.jsonl").read_bytes()
    assert json.loads(cellscout(tmp_path, *short, "--json")[1])["networks"][0]["accuracies"] == found[0]["accuracies"]
    assert (place / "events.jsonl").read_bytes().count(b"network_tested") == before.count(b"network_tested") == 1

    status, _, err = cellscout(tmp_path, "retrain", "run", "--set", "training.epochs=4", "--seeds", "2")
    assert (status, err.count("\n")) == (2, 1)
    assert "training.epochs was 3, and is 4; choose another --name" in err

    second = ["retrain", "run", "--set", "training.epochs=1", "--name", "again"]
    assert "the second test of this network" in cellscout(tmp_path, *second)[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_retraining_that_is_killed_and_started_again_comes_to_the_same(tmp_path: Path) -> None:
    options = [word for setting in SMALL for word in ("--set", setting)]
    assert cellscout(tmp_path, "search", "--run-dir", "run", *options)[0] == 0
    assert cellscout(tmp_path, "retrain", "run", *LONG)[0] == 0
    place = tmp_path / "run" / "retrain"
    place.rename(tmp_path / "undisturbed")
    process, begun = command(tmp_path, "retrain", "run", *LONG), time.monotonic()
    while not list(place.glob("best/checkpoints/*/*.json")) and time.monotonic() - begun < 120:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert cellscout(tmp_path, "retrain", "run", *LONG)[0] == 0
    for name in ("best", "two_convolutions"):
        assert facts(place / name) == facts(tmp_path / "undisturbed" / name)
        weights, others = (load_file(root / name / "weights.safetensors") for root in (place, tmp_path / "undisturbed"))
        assert all((weights[key] == others[key]).all() for key in others)
