"""Generated odd environments, working folders and search files: a search gets as far as Ray, or ends in one line."""

from __future__ import annotations

import codecs
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.cluster.machine import is_too_long
from trainables.datasets import load_data
from trainables.image_arrays import DataError
from trainables.settings import DataSettings

STARTED = "Ray was called"
LONG = "slurm_jobdir_" * 5
VARIABLES = {
    "RAY_TMPDIR": (None, None, "{folder}", f"{{folder}}/{LONG}", "/proc/nope"),
    "TMPDIR": (None, "/tmp", f"{{folder}}/{LONG}", "/proc/nope", ""),
    "HOME": ("{folder}", "{folder}", "/proc/nope", "/"),
    "RAY_AUTH_MODE": (None, "token", "disabled", "TOKEN"),
    "RAY_AUTH_TOKEN": (None, None, "a" * 64),
    "RAY_AUTH_TOKEN_PATH": (None, None, "/nonexistent", "{folder}/token", "{folder}"),
}
"""Values of each variable, from which an environment is drawn; None if it is not set."""


def environment(seed: int, folder: Path) -> dict[str, str | None]:
    draw = random.Random(seed)
    drawn = {name: draw.choice(values) for name, values in VARIABLES.items()}
    return {name: None if value is None else value.format(folder=folder) for name, value in drawn.items()}


@pytest.fixture
def ray_calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options with which Ray is to start; it never does."""
    calls: list[dict[str, Any]] = []

    def init(**options: Any) -> SimpleNamespace:
        calls.append(options)
        raise Exception(f"{STARTED}\nTraceback (most recent call last): ...")

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)  # or it would end the Ray of the other tests
    return calls


@pytest.mark.parametrize("seed", range(24))
def test_an_environment_lets_ray_start_or_is_told_with_the_variable(
    seed: int, tmp_path: Path, cellscout: Any, ray_calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("a" * 64)
    variables = environment(seed, tmp_path)
    for name, value in variables.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    ended = cellscout("search")
    assert (ended.status, ended.out) == (2, "")
    last = ended.err.splitlines()[-1]
    assert last.startswith("cellscout: ")
    assert "Traceback" not in ended.err
    assert not (tmp_path / "runs").exists()
    if ray_calls:
        assert STARTED in last
        (options,) = ray_calls
        assert 1 <= options["num_cpus"] <= (os.cpu_count() or 1)
        folder = Path(variables["RAY_TMPDIR"] or variables["TMPDIR"] or "/tmp") / "ray"
        assert folder != Path("/proc/nope/ray")
        assert (options["_temp_dir"] == str(folder)) != is_too_long(folder)
        assert not is_too_long(Path(options["_temp_dir"]))
    else:
        assert "set " in last.partition("; ")[2]
        wrong = [value for value in variables.values() if value is not None and value not in ("token", "TOKEN", "/tmp")]
        assert any(value and value in last for value in wrong)


TEXTS = {
    "empty": b"",
    "byte-order mark": codecs.BOM_UTF8 + b"[budget]\ntrials = 3\n",
    "lines of Windows": b"[budget]\r\ntrials = 3\r\n",
    "UTF-16": "[budget]\ntrials = 3\n".encode("utf-16"),
    "latin-1": "# für\n[budget]\ntrials = 3\n".encode("latin-1"),
    "binary": bytes(range(256)),
    "byte-order mark in the middle": b"[budget]\n" + codecs.BOM_UTF8 + b"trials = 3\n",
    "byte-order mark and a wrong key": codecs.BOM_UTF8 + b"[budget]\ntrails = 3\n",
}
FIT = {"empty", "byte-order mark", "lines of Windows"}


@pytest.mark.parametrize("name", TEXTS)
def test_a_search_file_is_read_or_refused_in_one_line(
    name: str, tmp_path: Path, cellscout: Any, ray_calls: list[dict[str, Any]]
) -> None:
    (tmp_path / "search.toml").write_bytes(TEXTS[name])
    ended = cellscout("search", "search.toml")
    assert ended.status == 2
    assert "Traceback" not in ended.err
    if name in FIT:
        assert ended.err.splitlines()[-1].startswith(f"cellscout: Ray cannot be started: {STARTED}; ")
    else:
        assert ended.err.startswith("cellscout: search.toml")
        assert ended.err.count("\n") == 1


def test_what_is_not_a_search_file_is_refused_in_one_line(tmp_path: Path, cellscout: Any) -> None:
    (tmp_path / "folder").mkdir()
    ended = cellscout("search", "absent.toml")
    assert ended.status == 2
    needed = "(a search file, or a folder of pictures, is needed)"
    assert ended.err == f"cellscout: absent.toml cannot be read: No such file or directory {needed}\n"
    ended = cellscout("search", "folder")
    assert ended.status == 2
    assert ended.err.splitlines()[-1].endswith("folder' needs one folder of pictures per class")


def test_a_working_folder_that_is_gone_gets_one_line(
    tmp_path: Path, cellscout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    ended = cellscout("list", "cells")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "cellscout: the working folder does not exist any more; change to another one\n"


@pytest.mark.parametrize("name", [b"with space", b"f\xc3\xbcr", b"f\xfcr", b"two\nlines", b"-h"])
def test_a_working_folder_may_have_any_name(
    name: bytes, tmp_path: Path, cellscout: Any, ray_calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    monkeypatch.chdir(folder)
    for command in (["status", "absent"], ["search"], ["doctor", "--set", "run.seed=-1"], ["mirror", "absent"]):
        ended = cellscout(*command)
        assert ended.status == 2
        assert ended.err.splitlines()[-1].startswith("cellscout: ")
        assert "Traceback" not in ended.err


SHADOWS = ("optuna", "ray", "queue", "numpy", "pydantic", "typer", "rich", "json", "tomllib", "yaml")


@pytest.mark.parametrize("how", [["-m", "orchestrator.cli"], ["-c", "from orchestrator.cli import main; main()"]])
def test_files_of_the_working_folder_are_not_imported_instead_of_packages(how: list[str], tmp_path: Path) -> None:
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('MY SCRIPT RUNS')\n")
    command = [sys.executable, *(["-P"] if how[0] == "-c" else []), *how, "list", "samplers"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "predictor" in ended.stdout
    assert "MY SCRIPT" not in ended.stdout + ended.stderr


def test_a_plug_in_that_is_called_like_a_module_of_python_is_told(tmp_path: Path, cellscout: Any) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('MY SCRIPT RUNS')\n")
    ended = cellscout("search", "--set", "space.name=queue:SPACE")
    assert ended.status == 2
    assert "module 'queue' (" in ended.err
    assert "queue.py) has no 'SPACE'; installed modules come before those of the working folder" in ended.err


@pytest.mark.parametrize(
    ("download", "advice"),
    [(True, "check the network, or .* set data.download = false"), (False, "data.download = true")],
)
def test_a_data_set_that_is_not_there_is_told_with_the_setting_that_helps(
    download: bool, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*place: Any, **options: Any) -> None:
        raise RuntimeError("Dataset not found.") if not options["download"] else OSError("<urlopen error timed out>")

    monkeypatch.setattr("torchvision.datasets.MNIST", refuse)
    with pytest.raises(DataError, match=advice):
        load_data(DataSettings(name="mnist", root=str(tmp_path), download=download), 0)
