"""What README.md and docs/*.md hold: fenced blocks, commands, inline code, links, anchors. Knows not what runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
SEPARATORS = {"&&", "&", ";"}
ASSIGNMENT = re.compile(r"(\w+)=(.*)", flags=re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, its line there, and its language."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a shell: variables that are set for it, and its words, of which the first is the program."""

    variables: dict[str, str]
    words: list[str]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in FENCE.finditer(text)]


def commands_of(shell: str) -> Iterator[Command]:
    """The commands of a block, one after the other; ValueError if a quote is not closed."""
    pending = ""
    for line in shell.splitlines():
        pending += line
        try:
            shlex.split(pending, comments=True)
        except ValueError:  # the quote goes on in the next line
            pending += "\n"
            continue
        yield from _commands_of_line(pending)
        pending = ""
    shlex.split(pending)


def _commands_of_line(line: str) -> Iterator[Command]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in SEPARATORS:
            words.append(word)
        elif words:
            yield _command(words)
            words = []


def _command(words: list[str]) -> Command:
    variables: dict[str, str] = {}
    while words and (found := ASSIGNMENT.fullmatch(words[0])):
        variables[found[1]] = found[2]
        words = words[1:]
    return Command(variables, words)


def inline_code_of(page: Path) -> list[str]:
    """What stands in single backticks in a page's text, on one line each."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", FENCE.sub("", page.read_text()))]


def links_of(page: Path) -> list[str]:
    """Where a page's links and pictures point to."""
    return re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text()))


def anchors_of(page: Path) -> set[str]:
    """What can follow a # in a link to a page, as GitHub makes it of the headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


BLOCKS = [block for page in PAGES for block in blocks_of(page)]

README = PAGES[0]

DOCS = ROOT / "docs"
