"""Names in a search file, resolved: ours from a table, a user's as `module:NAME`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from orchestrator.errors import ConfigError

T = TypeVar("T")


def check_name(setting: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is neither known nor of the form `module:NAME`.

    Raises:
        ConfigError: lists the known names and the nearest.
    """
    known = sorted(known)
    if name not in known and ":" not in name:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{setting} is {name!r}; known: {', '.join(known)}, or 'module:NAME'{hint}")


def resolve(setting: str, name: str, known: Mapping[str, T]) -> T | Any:
    """What `name` stands for.

    A module of the user's own is imported here and nowhere else, and only because the user's search file names it.

    Raises:
        ConfigError: the name is unknown, or its module or attribute does not exist.
    """
    check_name(setting, name, known)
    if name in known:
        return known[name]
    module_name, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        raise ConfigError(f"{setting} is {name!r}, but module {module_name!r} cannot be imported: {error}") from error
    except AttributeError as error:
        raise ConfigError(f"{setting} is {name!r}, but module {module_name!r} has no {attribute!r}") from error
