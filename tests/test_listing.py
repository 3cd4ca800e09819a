from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from orchestrator.cli.listing import listing, shown, values

ROWS: list[dict[str, Any]] = [
    {"name": "first", "count": 15_625, "about": "a line of some length"},
    {"name": "second", "count": None, "about": "[red]not markup"},
]


def printed(width: int) -> list[str]:
    console = Console(width=width, record=True, file=None, color_system=None)
    with console.capture() as captured:
        console.print(listing(ROWS, width))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_a_wide_terminal_gets_a_table() -> None:
    assert printed(80)[0].split() == ["name", "count", "about"]
    assert printed(80)[2].split() == ["second", "-", "[red]not", "markup"]


def test_a_narrow_one_gets_a_row_below_the_other_with_nothing_cut() -> None:
    lines = printed(20)
    assert lines[:2] == ["first", "    count: 15,625"]
    assert "".join(lines).count("second") == 1
    words = " ".join(lines).split()
    assert [word for word in words if word in ("some", "length", "markup")] == ["some", "length", "markup"]


def test_values_stand_below_each_other() -> None:
    console = Console(width=40, color_system=None)
    with console.capture() as captured:
        console.print(values({"batch_size": 8, "device": "cpu"}))
    assert [line.split() for line in captured.get().splitlines()] == [["batch", "size", "8"], ["device", "cpu"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (3_346_538, "3,346,538"), (10**18, "1e+18"), (0.0123456, "0.01235"), ("word", "word")],
)
def test_numbers_are_readable(value: Any, text: str) -> None:
    assert shown(value) == text
