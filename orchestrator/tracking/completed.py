"""Which trials a tool has everything of, in a text file beside the tool's own: one id a line."""

from __future__ import annotations

from pathlib import Path
from typing import final

COMPLETED = "completed.txt"


@final
class Completed:
    """Read once; a line that a crash cut short names no trial, which then is written anew."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / COMPLETED
        text = self._path.read_text() if self._path.exists() else ""
        self.names = set(text.split("\n")[:-1])

    def add(self, name: str) -> None:
        with self._path.open("a") as file:
            file.write(f"{name}\n")
        self.names.add(name)
