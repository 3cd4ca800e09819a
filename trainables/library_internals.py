"""Guarded access to what a library does not promise: if it is gone, the caller goes on without it, and says so once.

Knows no library. Each access is an `Internal` in the module that needs it: the driver's of Ray in
`orchestrator.cluster.ray_internals`, the workers' in `trainables.preemption`, torch's in
`trainables.exporting.torch_export_file`, Optuna's in `orchestrator.study.optuna_internals` and
`orchestrator.samplers.seeded`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from operator import attrgetter
from typing import Any
from warnings import warn

_reported: set[str] = set()


class LibraryWarning(UserWarning):
    """A library has changed where it promises nothing. The work continues, with a loss that the message names."""


def warn_once(message: str) -> None:
    """Warn the first time that this process passes this message."""
    if message not in _reported:
        _reported.add(message)
        warn(message, LibraryWarning, stacklevel=3)


@dataclass(frozen=True)
class Internal:
    """An attribute that a library does not promise."""

    library: str
    """The library's distribution, for example `ray`."""
    name: str
    """The attribute, below the object that is passed to `read`; dots lead through further attributes."""
    read_in: str
    """The version of the library in which this attribute was last looked up."""
    without: str
    """What is lost if the attribute is gone: the end of the warning."""

    def read(self, owner: Any) -> Any:
        """Return the attribute of `owner`. Return None if there is none, and warn about it once."""
        try:
            return attrgetter(self.name)(owner)
        except AttributeError:
            self.report()
            return None

    @contextlib.contextmanager
    def replaced(self, owner: Any, value: Any) -> Iterator[None]:
        """Give the attribute another value for the time of the context. Without the attribute, warn about it once."""
        before = self.read(owner)
        if before is None:
            yield
            return
        path, _, attribute = self.name.rpartition(".")
        holder = attrgetter(path)(owner) if path else owner
        setattr(holder, attribute, value)
        try:
            yield
        finally:
            setattr(holder, attribute, before)

    def report(self) -> None:
        """Warn once that the attribute is gone."""
        warn_once(
            f"{self.library} {version(self.library)} has no {self.name}, which {self.library} {self.read_in} had: "
            f"{self.without}"
        )
