"""`--json` prints JSON and nothing else on stdout, whatever Ray's threads and processes write there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOISY = """
import os, subprocess, sys, threading
import orchestrator.cli.catalogue as catalogue

def noisy(kind):
    print("a library prints")
    os.write(1, b"a library in C writes\\n")
    subprocess.run(["echo", "a process writes"])
    thread = threading.Thread(target=print, args=["a thread prints"])
    thread.start()
    thread.join()
    return [{"name": "x"}]

catalogue.catalogue = noisy
sys.argv = ["cellscout", "list", "cells", *sys.argv[1:]]
from orchestrator.cli.app import main
main()
"""
WRITTEN = ["a library prints", "a library in C writes", "a process writes", "a thread prints"]


def test_nothing_but_the_json_is_on_stdout(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", NOISY, "--json"], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0
    assert json.loads(ended.stdout) == [{"name": "x"}]
    assert sorted(ended.stderr.splitlines()) == sorted(WRITTEN)


def test_what_ray_prints_during_a_search_is_on_stderr(cellscout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_search(config: Any, **options: Any) -> None:
        sys.stdout.write("(raylet) A worker died or was killed")
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.search.run_search", run_search)
    ended = cellscout("search")
    assert ended.out == ""
    assert "(raylet) A worker died" in ended.err


def test_json_is_printed_if_the_command_ends_with_an_exit_status_too(
    cellscout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.cluster.doctor import Finding

    monkeypatch.setattr("orchestrator.cluster.examine", lambda *_: [Finding("error", "no disk", "buy one")])
    ended = cellscout("doctor", "--json")
    assert (ended.status, ended.err) == (1, "")
    assert json.loads(ended.out) == [{"level": "error", "what": "no disk", "remedy": "buy one"}]


def test_a_refused_command_prints_no_json(cellscout: Any) -> None:
    ended = cellscout("status", "absent", "--json")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("cellscout: ")
