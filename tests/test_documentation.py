"""Every command and code block of README.md and docs/*.md runs here; what needs minutes, a cluster or the network is
read by the program that it is for, with all its options.

The README's blocks run first, in their order, in one folder. They leave the run of the digits, evaluated, retrained and
exported, that the other pages' blocks then stand on. The tables below say what is made smaller or left out, and why;
nothing else is changed but the name of the run.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from PIL import Image

from orchestrator.cli.app import app, main
from orchestrator.cluster.autoscaling import Growth, NodeKind
from orchestrator.cluster.doctor import plan_findings
from orchestrator.config.search_config import DEFAULT_SEARCH, ResourceSettings, load_config, parse_config
from orchestrator.record.tables import EPOCH_SCHEMA, TRIAL_SCHEMA
from orchestrator.samplers import SAMPLERS
from orchestrator.schedulers import SCHEDULERS
from search_spaces import SPACES
from tests.documentation import (
    PAGES,
    ROOT,
    Block,
    anchors_of,
    blocks_of,
    commands_of,
    inline_code_of,
    links_of,
)
from tests.test_progress import in_trouble

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
README = PAGES[0]
DOCS = ROOT / "docs"

RUN = "runs/digits"
STANDS_FOR = {
    "RUN_DIR": RUN,
    "OTHER_RUN": RUN,
    "runs/digits-20261121-120000": RUN,
    "runs/predictor-*": "runs/predictor-0",  # a shell would find it
    "runs/random-*": "runs/random-0",
}

ONE_WORKER = "resources.cpus_per_trial=2"
"""A worker spends seconds on importing PyTorch; two would spend twice as many."""
SMALL_NETWORKS = ["training.epochs=2", "network.filters=4", "space.blocks=2"]
SMALL_SEARCH = ["data.limit=200", "budget.trials=2", *SMALL_NETWORKS, ONE_WORKER]
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
    '["budget.trials=30"]': f'["budget.trials=2", "training.epochs=2", "trainable.name=instant", "{ONE_WORKER}"]',
    "top=3, folds=3, seeds=2": "top=2, folds=2, seeds=1, baseline=False",
    'changes=["training.epochs=100"], seeds=3': 'changes=["training.epochs=1"], name="from-python"',
    "exploration=0.3))": "exploration=0.3), history=30, trials=60)",
}
"""In Python blocks."""

NOT_ALWAYS = {"owner.json": "only while a search writes", "random/": "only with a baseline"}
"""Of the files that a tree of a run directory shows."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Iterator[Path]:
    """The folder in which the README's blocks have run."""
    folder = tmp_path_factory.mktemp("documentation")
    for name in ("examples", "cluster.yaml", "docs", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "search.toml").write_text(DEFAULT_SEARCH.read_text())
    (shown,) = [block.text.split() for block in BLOCKS if block.text.startswith("flowers/")]
    for picture in [*shown, *(f"flowers/{name}/1{index:02}.jpg" for name in ("daisy", "rose") for index in range(28))]:
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (200 if "daisy" in picture else 50, 90, 90)).save(folder / picture)
    (folder / "scans").mkdir()
    for name in ("digit.png", "seven.png", "nine.png", "scans/first.png"):
        Image.new("L", (8, 8), 90).save(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(ROOT / "examples"))
        patch.setattr(sys, "argv", ["python"])
        for block in blocks_of(README):
            run_block(block)
        yield folder


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.page != README], ids=str)
def test_a_block_runs(block: Block, place: Path) -> None:
    run_block(block)


@pytest.mark.timeout(900)
def test_the_readmes_blocks_run_and_lead_to_an_answer(place: Path) -> None:
    run = place / RUN
    for left in ("evaluation/evaluation.json", "retrain/best/result.json", "retrain/best/export/model.int8.onnx"):
        assert (run / left).exists()
    assert (place / "runs" / "flowers" / "best" / "weights.safetensors").exists()


def run_block(block: Block) -> None:
    """By the rule for its language; a block without one fails."""
    rules: dict[str, Callable[[Block], None]] = {"sh": run_shell, "python": run_python, "toml": read_toml, "text": see}
    if block.language not in rules:
        pytest.fail(f"{block}: no rule for a block in {block.language!r}; known: {', '.join(rules)}")
    rules[block.language](block)


@pytest.mark.parametrize(
    ("language", "text", "message"),
    [
        ("yaml", "a: 1\n", "no rule for a block in 'yaml'"),
        ("", "cellscout list spaces\n", "no rule for a block in ''"),
        ("sh", "curl example.org\n", "no rule for the program 'curl'"),
        ("text", "whatever\n", "no rule for a text that begins with 'whatever'"),
    ],
)
def test_a_block_that_no_rule_handles_fails(language: str, text: str, message: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=message):
        run_block(Block(README, 1, language, text))


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
    """Shown files are there; what `doctor` is shown to say is what it says of such a cluster; a panel has its rows."""
    first, *others = block.text.splitlines()
    if first.startswith("flowers/"):
        missing = [name for name in (first, *others) if not Path(name).exists()]
    elif first.startswith("runs/"):
        folder = Path(first.replace("runs/digits-20261121-120000", RUN))
        names = [name for line in others for name in re.split(r"  +", line.strip())[0].split(", ")]
        assert names
        missing = [name for name in names if not (folder / name).exists() and name not in NOT_ALWAYS]
    elif first.startswith("here: "):
        workers = Growth((NodeKind("gpu_worker", {"CPU": 4, "GPU": 1}, 8),), 8, complete=True)
        found = plan_findings(ResourceSettings(gpus_per_trial=0.25), [{"node:__internal_head__": 1, "CPU": 4}], workers)
        missing = sorted({first, *others} ^ {finding.what for finding in found})
    elif first.startswith("╭"):
        shown = {line[2:10].strip() for line in others[:-1]}
        missing = sorted(shown ^ {row.label for row in in_trouble().standing().rows})
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
    parse_cellscout(words)
    if any(mark in " ".join(words) for mark in NOT_HERE):
        return
    name, *arguments = words
    if name == "resume":  # of the search from Python: the one that is evaluated stays as it is
        (begun_from_python,) = Path("runs").glob("digits-*")
        arguments = [word.replace(RUN, str(begun_from_python)) for word in arguments]
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
        return  # what it prints is tested below

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
        assert name in ("cellscout", "boto3")
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


def test_the_reference_of_the_search_file_is_what_the_configuration_says() -> None:
    page = runpy.run_path(str(DOCS / "search_file.py"))["page"]()
    assert (DOCS / "search-file.md").read_text() == page, "python docs/search_file.py > docs/search-file.md"
    for block in blocks_of(DOCS / "search-file.md"):
        read_toml(block)


def test_every_command_is_documented_and_no_other() -> None:
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = {
        command.words[1]
        for block in BLOCKS
        if block.language == "sh"
        for command in commands_of(block.text)
        if command.words[:1] == ["cellscout"]
    }
    for page in PAGES:
        named |= set(re.findall(r"^cellscout ([a-z]+)", "\n".join(inline_code_of(page)), flags=re.MULTILINE))
    assert named == known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_inline_commands_and_options_exist(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    options = {name for command in commands.values() for parameter in command.params for name in parameter.opts}
    options |= {
        name for command in commands.values() for parameter in command.params for name in parameter.secondary_opts
    }
    for code in inline_code_of(page):
        if code.startswith("--"):
            assert re.split(r"[ =]", code)[0] in options, code
        elif code.startswith("cellscout ") and len(words := code.replace("COMMAND", "search").split()[1:]) > 1:
            for choice in words[1].split("|"):
                parse_cellscout([words[0], choice, *words[2:]])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links_of(page):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_the_readme_leads_to_every_page() -> None:
    assert {page.relative_to(ROOT).as_posix() for page in PAGES[1:]} <= set(links_of(README))


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the tables whose header begins so."""
    tables = (DOCS / page).read_text().split(f"\n| {heading} |")[1:]
    rows = [line for table in tables for line in table.partition("\n\n")[0].splitlines()[2:]]
    return [[cell.strip() for cell in row[1:-1].split(" | ")] for row in rows]


def test_the_tables_columns_are_those_that_are_written() -> None:
    shown = [(name.strip("`"), kind) for name, kind, *_ in rows_of("results.md", "column")]
    written = [(field.name, str(field.type)) for schema in (TRIAL_SCHEMA, EPOCH_SCHEMA) for field in schema]
    assert shown == written


def test_the_samplers_options_are_those_that_they_take() -> None:
    for names, options in rows_of("samplers-and-schedulers.md", "sampler | options with their defaults"):
        for name in re.findall(r"`(\w+)`", names):
            taken = dict(inspect.signature(SAMPLERS[name]).parameters)
            for given in ("seed", "space"):
                taken.pop(given, None)
            shown = dict(
                option.split(" = ") if " = " in option else [option, "None"]
                for option in options.replace("`", "").split(", ")
            )
            assert shown == {key: as_toml(one.default) for key, one in taken.items()}


def as_toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_every_space_sampler_and_scheduler_is_shown() -> None:
    spaces = {name.strip("`") for name, *_ in rows_of("spaces.md", "space")}
    assert spaces == set(SPACES)
    assert all(f"`{name}`" in (DOCS / "samplers-and-schedulers.md").read_text() for name in [*SAMPLERS, *SCHEDULERS])


def test_the_faults_are_each_shown_by_tests_that_exist() -> None:
    """Each is named in full, or by its beginning, which no other test's name has, and three dots."""
    files = (path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    tests = {name for text in files for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}
    rows = rows_of("faults.md", "fault")
    assert len(rows) >= 15
    for *_, shown_by in rows:
        named = re.findall(r"`(test_\w+?)(\.\.\.)?`", shown_by)
        assert named, shown_by
        for name, dots in named:
            assert sum(test.startswith(name) if dots else test == name for test in tests) == 1, name
