"""Which files hold an example of a data set, told by their names. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_IGNORED_NAMES = frozenset({"__MACOSX", "@eaDir"})
"""Folders that archives of macOS and Synology's file servers add."""


@dataclass(frozen=True)
class FileKind:
    """Files that hold one example each."""

    name: str
    """One of them, in messages; the plural has an `s`."""
    example: str
    """What one of them holds, in messages; the plural has an `s`."""
    suffixes: frozenset[str]
    """Endings of their names, in lower case."""
    some_suffixes: str
    """One or two of these for a message."""

    def matches(self, name: str) -> bool:
        """Whether a file of this name is read: by its ending, unless it is hidden."""
        return not is_hidden(name) and Path(name).suffix.lower() in self.suffixes


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name belongs to the system or a tool (`.cache`, `.ipynb_checkpoints`)."""
    return name.startswith(".") or name in _IGNORED_NAMES
