"""Runs the blocks of the documentation, each by the rule for its language and its program.

The tables say what is made smaller or left out, and why; nothing else is changed but the name of the run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from orchestrator.cli.app import app, main
from orchestrator.cluster.autoscaling import Growth, NodeKind
from orchestrator.cluster.doctor import plan_findings
from orchestrator.config.loading import load_config, parse_config
from orchestrator.config.search_config import ResourceSettings
from orchestrator.simulation import SimulateSettings, simulate_searches, simulation_tables
from tests.documentation import (
    ROOT,
    Block,
    commands_of,
)
from tests.progress_views import in_trouble

RUN = "runs/digits"
RESUMED = "runs/resumed"

STANDS_FOR = {
    "RUN_DIR": RUN,
    "OTHER_RUN": RUN,
    "runs/digits-20261121-120000": RUN,
    "runs/predictor-*": "runs/predictor-0",  # a shell would find it
    "runs/random-*": "runs/random-0",
}

SMALL_NETWORKS = ["training.epochs=2", "network.filters=4", "space.blocks=2"]

SMALL_SEARCH = ["data.limit=200", "budget.trials=2", *SMALL_NETWORKS]

SMALLER: dict[str, list[str]] = {
    "search": [word for setting in SMALL_SEARCH for word in ("--set", setting)],
    "simulate": ["--seeds", "1", "--trainings", "2"],
    "evaluate": ["--top", "2", "--folds", "2", "--seeds", "1", "--no-baseline"],
    "retrain": [
        *("--set", "training.epochs=1"),
        *("--set", "training.cutout=0", "--set", "training.auxiliary_weight=0"),  # the digits have 8 pixels a side
    ],
}
"""What is put behind a command's own words. The last of an option counts."""

WITH_NETWORKS = [RUN, "runs/flowers"]
"""Searches whose networks are used afterwards; the trials of others cost nothing."""

SMALLER_VALUES = {
    "retrain": {"--repeats": "1", "--filters": "4", "--seeds": "1", "--baseline": "two_convolutions"},
}
"""Where these options are given."""

SMALLER_WORDS = {"budget.trials=200": "budget.trials=3"}

NOT_HERE = {
    "s3://": "a bucket",
    "--address": "a cluster",
    "watch": "somebody who ends it; tests/test_watch.py does",
    "own_": "a minute each; tests/test_examples.py runs them",
    "nasnetalarge": "a download of pretrained weights",
}
"""Words by which a command is known to need what a test has not; it is parsed, and its search file read."""

REWRITTEN = {
    '"budget.trials=30"]': '"budget.trials=2", "training.epochs=2", "trainable.name=instant"]',
    '["budget.trials=60"]': '["budget.trials=3"]',
    "top=3, folds=3, seeds=2": "top=2, folds=2, seeds=1, baseline=False",
    "epochs=100, seeds=3": 'epochs=1, name="from-python"',
    "exploration=0.3))": "exploration=0.3), history=30, trials=60)",
}
"""In Python blocks."""

NOT_ALWAYS = {"owner.json": "only while a search writes", "random/": "only with a baseline"}
"""Of the files that a tree of a run directory shows."""


def run_block(block: Block) -> None:
    """By the rule for its language; a block without one fails."""
    rules: dict[str, Callable[[Block], None]] = {"sh": run_shell, "python": run_python, "toml": read_toml, "text": see}
    if block.language not in rules:
        pytest.fail(f"{block}: no rule for a block in {block.language!r}; known: {', '.join(rules)}")
    rules[block.language](block)


def read_toml(block: Block) -> None:
    parse_config(tomllib.loads(block.text), str(block))


def run_python(block: Block) -> None:
    """What a print's comment says is what it prints."""
    told = run_code(block.text)
    for line in re.findall(r"^print\(.*\)  # (.*)$", block.text, flags=re.MULTILINE):
        assert line in told.splitlines()


def run_code(code: str) -> str:
    for name, stands_for in {**STANDS_FOR, **REWRITTEN}.items():
        code = code.replace(name, stands_for)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "a block", "exec"), {"__name__": "__main__"})
    return out.getvalue()


def see(block: Block) -> None:
    """Shown files are there; what `doctor` is shown to say is what it says of such a cluster; a panel has its rows, and
    a table of simulations its columns.
    """
    first, *others = block.text.splitlines()
    if first.startswith("flowers/"):
        missing = [name for name in (first, *others) if not Path(name).exists()]
    elif first.startswith("runs/"):
        folder = Path(first.partition(" ")[0].replace("runs/digits-20261121-120000", RUN))
        if folder.name == "00042":
            (folder,) = (found for found in folder.parent.iterdir() if found.name.isdecimal())
        names = [name for line in others for name in re.split(r"  +", line.strip())[0].split(", ")]
        assert names
        missing = [name for name in names if not (folder / name).exists() and name not in NOT_ALWAYS]
    elif first.startswith("here: "):
        workers = Growth((NodeKind("gpu_worker", {"CPU": 4, "GPU": 1}, 8),), 8, complete=True)
        found = plan_findings(ResourceSettings(gpus_per_trial=0.25), [{"node:__internal_head__": 1, "CPU": 4}], workers)
        missing = sorted({first, *others} ^ {finding.what for finding in found})
    elif first.startswith("╭"):
        shown = {line[2:10].strip() for line in others[:-1]}
        missing = sorted(shown ^ {row.label for row in in_trouble().snapshot().rows})
    elif " workers; each search lasts " in first:
        settings = SimulateSettings(samplers=["random"], schedulers=["asha"], seeds=1)
        (table,) = simulation_tables(simulate_searches(str(ROOT / "benchmarks/curves/trials.parquet"), settings))
        missing = sorted(
            {first, *re.split(r"  +", others[0].strip())} ^ {str(table.title), *(str(c.header) for c in table.columns)}
        )
    else:
        pytest.fail(f"{block}: no rule for a text that begins with {first!r}")
    assert missing == []


def run_shell(block: Block) -> None:
    folder = Path()
    for command in commands_of(block.text):
        for name in command.variables:
            check_variable(name)
        if not command.words:
            continue
        program, *words = command.words
        if program == "cd":
            (folder,) = map(Path, words)
            continue
        if program not in PROGRAMS:
            pytest.fail(f"{block}: no rule for the program {program!r}; known: {', '.join(PROGRAMS)}")
        for word in words:
            if re.fullmatch(r"[\w./-]+\.(toml|yaml|py|sh)", word):
                assert (folder / word).exists(), f"{block}: {word} does not exist"
        PROGRAMS[program](folder, words)


def run_cellscout(folder: Path, words: list[str]) -> None:
    """In this process, made smaller; or parsed, where it needs what is not here."""
    for name, stands_for in STANDS_FOR.items():
        words = [word.replace(name, stands_for) for word in words]
    # As a shell does; the folder of the retrained winner is called like its trial.
    words = [path for word in words for path in (map(str, sorted(Path().glob(word))) if "/*/" in word else [word])]
    parse_cellscout(words)
    if any(mark in " ".join(words) for mark in NOT_HERE):
        return
    name, *arguments = words
    if name == "resume":  # a copy: the search that is evaluated stays as it is
        shutil.copytree(RUN, RESUMED, dirs_exist_ok=True)
        arguments = [word.replace(RUN, RESUMED) for word in arguments]
    if name == "search" and not any(word in WITH_NETWORKS for word in arguments):
        arguments += ["--set", "trainable.name=instant"]
    arguments = with_smaller_values(name, arguments)
    if name == "retrain" and (Path(RUN) / "retrain").exists():  # other settings are another retraining
        arguments += ["--name", f"further-{len(list((Path(RUN) / 'retrain').iterdir()))}"]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["cellscout", name, *arguments, *SMALLER.get(name, [])])
        patch.setattr(sys, "path", list(sys.path))
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code, f"cellscout {name} {' '.join(arguments)}: {err.getvalue()}"


def parse_cellscout(words: list[str]) -> None:
    """Read by the command itself, and its search file and settings by what reads them in a search."""
    name, *arguments = words
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    if arguments == ["--help"]:
        return
    given = command.make_context(name, list(arguments)).params
    if name in ("search", "submit", "doctor") and not str(given["search_file"] or "").isupper():
        path = given["search_file"]
        places = [Path(), ROOT / "examples"]
        load_config(
            path and next(place / path for place in places if (place / path).exists()), given["overrides"] or []
        )


def with_smaller_values(name: str, arguments: list[str]) -> list[str]:
    values = SMALLER_VALUES.get(name, {})
    pairs = zip(["", *arguments], arguments, strict=False)
    return [values.get(option, SMALLER_WORDS.get(word, word)) for option, word in pairs]


def run_interpreter(folder: Path, words: list[str]) -> None:
    """`-c` runs; of a script and of `build` the arguments are read by its own parser (tests/test_examples.py and
    tests/test_backbone_examples.py run them)."""
    if words[0] == "-c":
        run_code(words[1])
        return
    if words[:2] == ["-m", "build"]:
        from build.__main__ import main_parser

        main_parser().parse_args(words[2:])
        return
    if words[0] == "docs/search_file.py":
        return  # tests/test_documentation_reference.py tests what it prints

    read = argparse.ArgumentParser.parse_args

    def stop_then(parser: argparse.ArgumentParser, *arguments: Any) -> None:
        read(parser, *arguments)
        raise ArgumentsAreRead

    script, *arguments = words
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop_then)
        patch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(ArgumentsAreRead):
            runpy.run_path(str(folder / script), run_name="__main__")


class ArgumentsAreRead(Exception):  # noqa: N818
    """A script has got so far."""


def read_pip(folder: Path, words: list[str]) -> None:
    """`pip install` of this package with extras that it has, and of others."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    install, *packages = words
    assert install == "install"
    for package in packages:
        name, _, wanted = package.rstrip("]").partition("[")
        assert name in ("cellscout", "cellscout @ git+REPOSITORY_URL", "cellscout-0.1.0-py3-none-any.whl", "boto3")
        assert set(filter(None, wanted.split(","))) <= set(extras)


def read_make(folder: Path, words: list[str]) -> None:
    subprocess.run(["make", "--dry-run", *words], cwd=ROOT, check=True, capture_output=True)


def read_ray(folder: Path, words: list[str]) -> None:
    from ray.scripts.scripts import cli

    name, *arguments = words
    cli.commands[name].make_context(name, arguments)


def read_export(folder: Path, words: list[str]) -> None:
    for word in words:
        check_variable(word.partition("=")[0])


def check_variable(name: str) -> None:
    """It is one of those by which Ray asks for a token."""
    assert name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"), name


PROGRAMS: dict[str, Callable[[Path, list[str]], None]] = {
    "cellscout": run_cellscout,
    "python": run_interpreter,
    "pip": read_pip,
    "make": read_make,
    "ray": read_ray,
    "export": read_export,
}
