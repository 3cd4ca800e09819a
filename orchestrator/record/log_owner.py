"""`owner.json`: which process writes the record of a run. Knows hosts and processes; does not know what is written.

A local log is locked, and this only says by whom. An object store has no locks: whoever writes `owner.json` last is the
owner, and the one before finds out and stops.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
from dataclasses import asdict, dataclass

from orchestrator.errors import SearchError
from trainables.storage import Folder

OWNER = "owner.json"


@dataclass(frozen=True)
class LogOwner:
    """A process that writes a record; `token` tells it from another one with the same number."""

    host: str
    pid: int
    token: str

    def __str__(self) -> str:
        return f"{self.host}, pid {self.pid}"

    @classmethod
    def claim(cls, folder: Folder) -> LogOwner:
        """Name this process as the owner."""
        owner = cls(platform.node(), os.getpid(), secrets.token_hex(8))
        folder.write(OWNER, json.dumps(asdict(owner)).encode() + b"\n")
        return owner

    @classmethod
    def of(cls, folder: Folder) -> LogOwner | None:
        """Who is named; None if nobody is."""
        try:
            return cls(**json.loads(folder.read(OWNER)))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    @property
    def is_gone(self) -> bool:
        """Whether it was a process of this machine that has ended."""
        if self.host != platform.node():
            return False
        return not is_alive(self.pid)

    def check(self, folder: Folder) -> None:
        """Make sure that this process is still the owner.

        Raises:
            SearchError: another one is, or somebody took `owner.json` away.
        """
        owner = LogOwner.of(folder)
        if owner != self:
            by = f"by {owner}" if owner is not None else f"(its {OWNER} is gone)"
            raise SearchError(f"{folder} was taken over {by}; this process writes to it no more")

    def release(self, folder: Folder) -> None:
        """Take the name away, if it is still ours."""
        if LogOwner.of(folder) == self:
            folder.remove(OWNER)


def is_alive(pid: int) -> bool:
    """Whether this machine has such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, as another user's
        pass
    return True
