"""The trials that a tool has completely, in a text file beside the tool's own files: one id per line."""

from __future__ import annotations

from pathlib import Path
from typing import final

COMPLETED = "completed.txt"


@final
class Completed:
    """The set of completed trials. A line that a crash cut short is ignored, and its trial is written again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / COMPLETED
        text = self._path.read_text() if self._path.exists() else ""
        self.names = set(text.split("\n")[:-1])

    def add(self, name: str) -> None:
        """Append a trial to the file."""
        with self._path.open("a") as file:
            file.write(f"{name}\n")
        self.names.add(name)
