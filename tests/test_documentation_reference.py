"""What README.md and docs/*.md say of commands, options, settings, tables and tests is what the code has."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import pytest
import typer.main

from orchestrator.cli.app import app
from orchestrator.record.tables import EPOCH_SCHEMA, TRIAL_SCHEMA
from orchestrator.samplers import SAMPLERS
from orchestrator.schedulers import SCHEDULERS
from search_spaces import SPACES
from tests.documentation import (
    BLOCKS,
    DOCS,
    PAGES,
    README,
    ROOT,
    anchors_of,
    blocks_of,
    commands_of,
    inline_code_of,
    links_of,
)
from tests.documentation_blocks import (
    parse_cellscout,
    read_toml,
)


def test_the_reference_of_the_search_file_is_what_the_configuration_says() -> None:
    page = runpy.run_path(str(DOCS / "search_file.py"))["page"]()
    assert (DOCS / "search-file.md").read_text() == page, "python docs/search_file.py > docs/search-file.md"
    for block in blocks_of(DOCS / "search-file.md"):
        read_toml(block)


def test_the_reference_of_the_options_is_what_the_settings_say() -> None:
    page = runpy.run_path(str(DOCS / "command_options.py"))["page"]()
    assert (DOCS / "command-options.md").read_text() == page, "python docs/command_options.py > docs/command-options.md"


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
