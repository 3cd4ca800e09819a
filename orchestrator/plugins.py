"""Names in a search file, resolved: ours from a table, a user's as `module:NAME`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.errors import ConfigError, last_line

T = TypeVar("T")


def check_name(setting: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is neither known nor of the form `module:NAME`.

    Raises:
        ConfigError: lists the known names and the nearest.
    """
    known = sorted(known)
    module, separator, attribute = name.partition(":")
    names = all(part.isidentifier() for part in [*module.split("."), attribute])
    if name not in known and not (separator and names):
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
        found = importlib.import_module(module_name)
    except ImportError as error:
        where = (
            "" if getattr(error, "name", None) != module_name else f" (looked for in {Path.cwd()} and among packages)"
        )
        raise ConfigError(
            f"{setting} is {name!r}, but module {module_name!r} cannot be imported: {error}{where}"
        ) from error
    except (Exception, SystemExit) as error:
        reason = f"raised {type(error).__name__}: {last_line(error)}"
        raise ConfigError(f"{setting} is {name!r}, but module {module_name!r} {reason}") from error
    if not hasattr(found, attribute):
        raise ConfigError(f"{setting} is {name!r}, but module {module_name!r} has no {attribute!r}")
    return getattr(found, attribute)
