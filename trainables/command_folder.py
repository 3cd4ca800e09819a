"""The folder of the command, to which relative paths in a trainable's code refer. No torch."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class CommandFolder:
    """A folder on one machine. Another machine may have it too, on a disk that they share."""

    path: str
    """Absolute."""
    host: str

    @classmethod
    def here(cls) -> Self:
        """The current folder of this process."""
        return cls(str(Path.cwd()), platform.node())

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the block in the folder, if this machine has it.

        Raises:
            FileNotFoundError: the block did not find a file by a relative path, and this is another machine, which the
                message says.
        """
        with contextlib.suppress(OSError):
            os.chdir(self.path)  # for good, because threads of the trainable may go on after the block
        try:
            yield
        except FileNotFoundError as error:
            name = error.filename
            if platform.node() == self.host or not isinstance(name, str | os.PathLike) or Path(name).is_absolute():
                raise
            raise FileNotFoundError(
                f"{error.strerror}: {str(name)!r} (this path is relative to {self.path} on {self.host}, where the "
                f"command runs, but this process is on {platform.node()}; use an absolute path on a shared disk)"
            ) from error
