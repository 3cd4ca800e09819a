"""The errors of cellscout, as one small tree.

    CellscoutError             exit status
      InputError                  2    an input is wrong; nothing was changed
        ConfigError                    a search file, a setting, or a name in it
        RunDirectoryError              the run directory cannot be used
        ClusterError                   the Ray cluster cannot run this
      SearchError                 1    a search started and could not continue; its record is complete up to then

A message is one line that gives the value, the bound and the setting to change.
"""

from __future__ import annotations

import traceback
from pathlib import Path


class CellscoutError(Exception):
    """Base class of all errors that are shown without a traceback."""

    exit_status = 1


class InputError(CellscoutError, ValueError):
    """An input from the user is wrong."""

    exit_status = 2


class ConfigError(InputError):
    """A search file, a setting or a name in it is wrong."""


class RunDirectoryError(InputError):
    """The run directory cannot be created, read or written."""


class ClusterError(InputError):
    """The Ray cluster cannot be reached, or lacks the resources that a trial needs."""


class SearchError(CellscoutError):
    """Something that had started, such as a search, could not continue."""


def check_class(name: str, given: object, kind: type) -> None:
    """Refuse what was given as an argument in Python if it is neither None nor of this class.

    Raises:
        ConfigError: says which class is needed.
    """
    if given is not None and not isinstance(given, kind):
        raise ConfigError(f"{name} is {given!r}; an object of the class {kind.__name__} is needed ({name}=...)")


def last_line(error: BaseException) -> str:
    """Return the last line of an exception's message, or its type if the message is empty.

    In a wrapped traceback, the last line is the reason.
    """
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def place_of(error: BaseException, caller: str) -> str:
    """Return where an error of the user's own code was raised: its last place outside installed packages, if any.

    Args:
        error: that was caught.
        caller: the file of ours that called the user's code, which is not the place.
    """
    places = traceback.extract_tb(error.__traceback__)
    own = [place for place in places if place.filename != caller and "site-packages" not in place.filename]
    last = (own or places)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"
