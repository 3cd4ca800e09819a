"""No code branches on the name of a space, a published cell, a skeleton or a task; their differences are values.

No file in tests/ imports a test file: what test files share is in files of its own.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from search_spaces import PUBLISHED, SPACES
from trainables.skeleton import SKELETONS
from trainables.tasks.table import TASKS

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for package in ("search_spaces", "trainables", "orchestrator") for path in (ROOT / package).rglob("*.py")
)
NAMES = {*SPACES, *PUBLISHED, *SKELETONS, *TASKS}
PREFIXES = {name.split("_")[0] for name in NAMES}


def names_compared(source: str) -> list[str]:
    """Names in comparisons, in `match` cases, and in calls of `startswith` and `endswith`."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare | ast.MatchValue) or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("startswith", "endswith")
        ):
            texts = [leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)]
            found += [text for text in texts if isinstance(text, str) and text.rstrip("_") in NAMES | PREFIXES]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_branches_on_a_name(path: Path) -> None:
    assert names_compared(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "if space.name == 'nasnet': pass",
        "x = 1 if name in ('darts', 'a') else 2",
        "match skeleton:\n    case 'darts_cifar': pass",
        "if name.startswith('darts'): pass",
        "if name != 'pnasnet_5': pass",
        "if task == 'segmentation': pass",
    ],
)
def test_branches_on_a_name_are_found(source: str) -> None:
    assert names_compared(source)


def imported_test_files(source: str) -> list[str]:
    """The test files that a file in tests/ imports."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.module or ''}.{alias.name}".lstrip(".") for alias in node.names]
    return [name for name in found if name.removeprefix("tests.").startswith("test_")]


def test_no_test_file_is_imported() -> None:
    for imports in (
        "import tests.test_a",
        "from tests import test_a",
        "from tests.test_a import b",
        "from . import test_a",
    ):
        assert imported_test_files(imports), imports
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert {path.name: found for path in files if (found := imported_test_files(path.read_text()))} == {}
