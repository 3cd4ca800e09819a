"""`owner.json`: which process writes the record of a run. Knows hosts and processes; does not know what is written.

A local log is locked; `owner.json` only names the process that holds the lock. An object store has no locks: the
process that writes `owner.json` last is the owner, and the one before notices that and stops.
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
    """A process that writes a record; `token` distinguishes it from another one with the same host and number."""

    host: str
    pid: int
    token: str

    def __str__(self) -> str:
        return f"{self.host}, pid {self.pid}"

    @classmethod
    def claim(cls, folder: Folder) -> LogOwner:
        """Make this process the owner."""
        owner = cls(platform.node(), os.getpid(), secrets.token_hex(8))
        folder.write(OWNER, json.dumps(asdict(owner)).encode() + b"\n")
        return owner

    @classmethod
    def of(cls, folder: Folder) -> LogOwner | None:
        """Read the owner; None if there is none."""
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
        """Check that this process is still the owner.

        Raises:
            SearchError: another process is the owner, or `owner.json` is gone.
        """
        owner = LogOwner.of(folder)
        if owner != self:
            by = f"by {owner}" if owner is not None else f"(its {OWNER} is gone)"
            raise SearchError(f"{folder} was taken over {by}; this process no longer writes to it")

    def release(self, folder: Folder) -> None:
        """Remove `owner.json` if it still names this process."""
        if LogOwner.of(folder) == self:
            folder.remove(OWNER)


def is_alive(pid: int) -> bool:
    """Whether this machine has such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True
