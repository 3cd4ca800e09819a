"""The commands from outside: output, exit status, and the files that they change."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from orchestrator.cluster.doctor import Finding
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from search_spaces import PUBLISHED
from tests.builders import RUN
from tests.commands import told
from tests.evaluated import recorded
from tests.records import snapshot
from trainables.operations import OPERATIONS
from trainables.presets import PRESETS
from trainables.skeleton import SKELETONS

COMMAND = [sys.executable, "-m", "orchestrator.cli"]


def test_help_names_the_commands_and_gives_examples(cellscout: Any) -> None:
    ended = cellscout("--help")
    assert ended.status == 0
    searching = ("search", "evaluate", "simulate", "submit", "status", "report", "watch", "compare")
    for command in (*searching, "list", "draw", "costs", "doctor"):
        assert command in ended.out
        one = cellscout(command, "--help")
        assert one.status == 0
        assert "Example: cellscout" in one.out


def test_the_word_help_shows_the_help_of_all_or_of_one_command(cellscout: Any) -> None:
    for words in (["help"], ["help", "compare"]):
        ended = cellscout(*words)
        assert (ended.status, ended.out) == (0, cellscout(*words[1:], "--help").out)
    assert "Did you mean 'compare'?" in cellscout("help", "compar").err


def test_help_does_not_wait_for_ray() -> None:
    code = "import sys; sys.argv = ['cellscout', '--help']\nimport orchestrator.cli.app as cli\n"
    code += "try: cli.main()\nexcept SystemExit: print('ray' in sys.modules, 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "False False"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("spaces", {"nasnet", "amoebanet", "pnasnet", "enas", "darts", "nas_bench_201"}),
        ("cells", set(PUBLISHED)),
        ("operations", set(OPERATIONS)),
        ("skeletons", set(SKELETONS)),
        ("presets", set(PRESETS)),
        (
            "samplers",
            {"tpe", "random", "evolution", "local_search", "controller", "predictor", "gp", "nsgaii", "nsgaiii"},
        ),
        ("schedulers", {"asha", "asha_promotion", "pasha", "cut", "hyperband", "median", "fifo"}),
        (
            "datasets",
            {"digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "svhn"}.union(
                ("image_folder", "npz", "segmentation", "signal", "text")
            ),
        ),
        ("trainables", {"cell", "instant"}),
    ],
)
def test_list_describes_every_name(kind: str, names: set[str], cellscout: Any) -> None:
    rows = json.loads(cellscout("list", kind, "--json").out)
    assert {row["name"] for row in rows} == names
    assert all(value for row in rows for name, value in row.items() if name != "distinct")
    ended = cellscout("list", kind)
    assert ended.status == 0
    assert all(name in ended.out for name in names)


def test_list_spaces_shows_their_sizes(cellscout: Any) -> None:
    rows = {row["name"]: row for row in json.loads(cellscout("list", "spaces", "--json").out)}
    assert rows["nas_bench_201"]["encodings"] == rows["nas_bench_201"]["distinct"] == 15_625
    assert rows["nasnet"]["distinct"] is None
    assert rows["pnasnet"]["encodings"] == 556_627_761_561_600


def test_a_list_of_an_unknown_kind_is_refused(cellscout: Any) -> None:
    known = "spaces, cells, operations, skeletons, presets, samplers, schedulers, datasets, trainables"
    assert told(cellscout("list", "optimisers")) == (2, "", f"cellscout: KIND is 'optimisers'; known: {known}\n")
    assert cellscout("list", "sampler").err.endswith("; did you mean 'samplers'?\n")
    assert cellscout("list", "space").err.endswith("; did you mean 'spaces'?\n")
    words = {word.strip(",.") for word in cellscout("list", "--help").out.split()}
    assert words.issuperset(known.split(", "))


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    ended = subprocess.run([*COMMAND, "--debug", "status", "absent"], capture_output=True, text=True, cwd=tmp_path)
    assert "Traceback" in ended.stderr
    assert ended.returncode != 0


BAD_FILES = {
    "missing.toml": None,
    "broken.toml": "[run",
    "unknown_key.toml": "[training]\nepoch = 3",
    "wrong_type.toml": "[training]\nepochs = 'many'",
    "negative.toml": "[budget]\ntrials = -1",
    "zero.toml": "[budget]\nhours = 0",
    "space.toml": "[space]\nname = 'nasnt'",
    "sampler.toml": "[sampler]\nname = 'tpo'",
    "scheduler.toml": "[scheduler]\nname = 'asho'",
    "data_set.toml": "[data]\nname = 'cifar'",
    "module.toml": "[sampler]\nname = 'no_such_module:Sampler'",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_search_file_gets_one_line_and_status_2_and_touches_nothing(
    name: str, cellscout: Any, tmp_path: Path
) -> None:
    if BAD_FILES[name] is not None:
        (tmp_path / name).write_text(str(BAD_FILES[name]))
    before = snapshot(tmp_path)
    ended = cellscout("search", name)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("cellscout: ")
    assert ended.err.count("\n") == 1
    assert snapshot(tmp_path) == before
    assert not [path for path in tmp_path.rglob("*") if path.is_dir()]


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("--trials", "budget.trials"),
        ("--epochs", "training.epochs"),
        ("--sampler", "sampler.name"),
        ("--scheduler", "scheduler.name"),
    ],
)
def test_the_short_options_are_settings(option: str, setting: str, cellscout: Any) -> None:
    ended = cellscout("search", option, "0")
    assert (ended.status, ended.out) == (2, "")
    assert re.search(f"{setting} is '?0'?", ended.err)


def test_the_version_is_told(cellscout: Any) -> None:
    assert cellscout("--version").out == f"cellscout {version('cellscout')}\n"


def test_a_search_file_with_a_similar_name_is_suggested(cellscout: Any, tmp_path: Path) -> None:
    (tmp_path / "flowers").mkdir()
    assert cellscout("search", "flower").err.endswith("; did you mean 'flowers'?\n")
    assert cellscout("search", f"{tmp_path}/flower").err.endswith(f"; did you mean '{tmp_path}/flowers'?\n")


def bad_data(folder: Path, name: str) -> list[str]:
    """Write the files for a fault, and return the settings that cause it."""
    images = np.zeros((60, 6, 6), np.uint8)
    labels = np.arange(60) % 3
    faults: dict[str, dict[str, Any]] = {
        "no_arrays": {"pictures": images},
        "lengths": {"images": images, "labels": labels[:59]},
        "one_class": {"images": images, "labels": labels * 0},
        "empty_class": {"images": images, "labels": labels},
    }
    if name in faults:
        np.savez(folder / "data.npz", **faults[name])
        settings = ["data.name=npz", "data.root=data.npz"]
        return [*settings, "data.validation_fraction=0.01"] if name == "empty_class" else settings
    return {
        "no_data": ["data.name=fashion_mnist", "data.root=absent"],
        "no_folders": ["data.name=image_folder", "data.root=absent"],
        "gpus": ["resources.gpus_per_trial=3"],
    }[name]


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("name", ["no_arrays", "lengths", "one_class", "empty_class", "no_data", "no_folders", "gpus"])
def test_bad_data_gets_one_line_and_status_2_and_touches_nothing(name: str, cellscout: Any, tmp_path: Path) -> None:
    settings = [part for setting in bad_data(tmp_path, name) for part in ("--set", setting)]
    before = snapshot(tmp_path)
    ended = cellscout("search", *settings)
    assert (ended.status, ended.out) == (2, "")
    last = ended.err.splitlines()[-1]
    assert last.startswith("cellscout: ")
    assert "data." in last or "resources." in last
    assert snapshot(tmp_path) == before
    assert not [path for path in tmp_path.rglob("*") if path.is_dir()]


@pytest.mark.parametrize("fault", ["holds a run", "is a file", "not writable", "full"])
def test_a_bad_run_directory_gets_one_line_and_status_2_and_touches_nothing(
    fault: str, cellscout: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(recorded(tmp_path / "run", RUN, state="completed").location)
    target = {"holds a run": run, "is a file": run / "run.json"}.get(fault, tmp_path / "new")
    if fault == "not writable":
        monkeypatch.setattr(os, "access", lambda *_: False)
    if fault == "full":
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 0}))
    before = snapshot(tmp_path)
    ended = cellscout("search", "--run-dir", str(target))
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert "--run-dir" in ended.err
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_search_from_a_file_with_a_module_beside_it(cellscout: Any, tmp_path: Path) -> None:
    """Runs in its own process, with a data set in a module of the user."""
    (tmp_path / "my_data.py").write_text(
        "from torch import arange, full, uint8\n"
        "from torch.utils.data import TensorDataset\n"
        "def make():\n"
        "    labels = arange(60) % 2\n"
        "    images = full((60, 8, 8, 1), 9, dtype=uint8) * labels[:, None, None, None].to(uint8)\n"
        "    return TensorDataset(images, labels)\n"
    )
    (tmp_path / "search.toml").write_text(
        '[data]\nname = "my_data:make"\n[network]\nrepeats = 1\nfilters = 4\n[space]\nblocks = 2\n'
        "[training]\nepochs = 3\nbatch_size = 16\n[budget]\ntrials = 3\n[confirmation]\ncandidates = 0\n"
        "[resources]\ncpus_per_trial = 2\n"
    )
    ended = subprocess.run(
        [*COMMAND, "search", "search.toml", "--run-dir", "out", "--json"], capture_output=True, text=True, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert sum(found["trials"].values()) == 3
    assert found["best"]["val_accuracy"] >= 0.5
    assert "Traceback" not in ended.stderr
    assert (tmp_path / "out" / "best" / "weights.safetensors").exists()
    again = cellscout("search", "--run-dir", "out")
    assert again.status == 2
    assert "already holds a run; choose another --run-dir, or continue it: cellscout resume" in again.err


def _processes_of_session(session: int) -> list[int]:
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                found.append(pid)
    return found


def _ctrl_c(running: subprocess.Popen[str]) -> None:
    running.send_signal(signal.SIGINT)


def _sigterm_of_its_group(running: subprocess.Popen[str]) -> None:
    os.killpg(running.pid, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [_ctrl_c, _sigterm_of_its_group], ids=["Ctrl-C", "SIGTERM"])
def test_ctrl_c_leaves_a_whole_record_and_no_process(
    stop: Callable[[subprocess.Popen[str]], None], tmp_path: Path
) -> None:
    running = subprocess.Popen(
        [*COMMAND, "search", "--run-dir", "out", "--set", "trainable.name=instant", "--set", "budget.trials=100000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    events = tmp_path / "out" / "events.jsonl"
    deadline = time.monotonic() + 120
    while not (events.exists() and b"trial_ended" in events.read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    stop(running)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert err.count("stopping; what has ended is kept\n") == 1
    assert "state       interrupted" in out
    assert RunDirectory.at(tmp_path / "out").read_info().state == "interrupted"
    while _processes_of_session(running.pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_doctor_checks_everything_and_finds_no_fault(cellscout: Any) -> None:
    ended = cellscout("doctor", "--json")
    assert ended.status == 0, ended.out
    findings = json.loads(ended.out)
    text = " ".join(finding["what"] for finding in findings)
    for word in ("Python", "ray", "torch", "torchvision", "disk", "memory", "Ray on this machine", "1 trial at a time"):
        assert word in text


def test_doctor_checks_no_disk_if_runs_are_on_an_object_store(cellscout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cluster.doctor._cluster", lambda *_: [])
    monkeypatch.setattr("orchestrator.cluster.doctor._torch", lambda: (Finding("ok", "torch"), False))
    for storage, checks_disk in (("runs", True), ("s3://bucket/runs?region=eu-west-1", False)):
        ended = cellscout("doctor", "--set", f"run.storage={storage}", "--json")
        assert any("of disk free" in finding["what"] for finding in json.loads(ended.out)) == checks_disk


@pytest.mark.timeout(600)
def test_the_default_search_finds_a_good_cell_for_the_digits(tmp_path: Path) -> None:
    """It trains 16 trials over 4 rungs, confirms its winner, reaches 0.97, and does not import torch in its driver."""
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], "search"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", ended.stderr, flags=re.MULTILINE))
    assert imported & {"ray", "torch", "torchvision"} == {"ray"}
    assert "The best 10 of" in ended.stdout
    (run,) = (tmp_path / "runs").iterdir()
    state = RecordedRun.read(run).state()
    assert state.trained == 16
    assert state.confirmed is not None
    epochs = [trial.epochs for trial in state.trials.values()]
    assert all(any(trained >= rung for trained in epochs) for rung in (1, 2, 4, 8))
    assert {1, 8} <= set(epochs)
    assert state.best is not None
    assert state.best.val_accuracy is not None
    assert state.best.val_accuracy >= 0.97
    assert {path.name for path in run.iterdir()} == {
        "run.json",
        "events.jsonl",
        "trials.parquet",
        "epochs.parquet",
        "best",
        "checkpoints",
        "report.html",
    }
