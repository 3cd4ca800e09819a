"""Resolves names in a search file: built-in ones from a table, a user's own as `module:NAME`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.errors import ConfigError, last_line
from trainables.settings import did_you_mean

T = TypeVar("T")


def check_name(setting: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is neither known nor of the form `module:NAME`.

    Raises:
        ConfigError: lists the known names, and the nearest one if there is any.
    """
    known = sorted(known)
    module, separator, attribute = name.partition(":")
    names = all(part.isidentifier() for part in [*module.split("."), attribute])
    if name not in known and not (separator and names):
        hint = did_you_mean(name, known)
        raise ConfigError(f"{setting} is {name!r}; known: {', '.join(known)}, or 'module:NAME'{hint}")


def resolve(setting: str, name: str, known: Mapping[str, T]) -> T | Any:
    """The built-in or imported object of this name.

    Only this function imports modules of the user, and only those that a search file names.

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
            "" if getattr(error, "name", None) != module_name else f" (looked for among packages and in {Path.cwd()})"
        )
        raise ConfigError(
            f"{setting} is {name!r}, but module {module_name!r} cannot be imported: {error}{where}"
        ) from error
    except (Exception, SystemExit) as error:
        reason = f"raised {type(error).__name__}: {last_line(error)}"
        raise ConfigError(f"{setting} is {name!r}, but module {module_name!r} {reason}") from error
    if not hasattr(found, attribute):
        place = getattr(found, "__file__", None) or "a part of Python"
        raise ConfigError(
            f"{setting} is {name!r}, but module {module_name!r} ({place}) has no {attribute!r}; installed modules come "
            "before those of the working folder"
        )
    return getattr(found, attribute)


def resolve_value(setting: str, *, name: str, known: Mapping[str, T], kind: type[T]) -> T:
    """The built-in or imported object of this name, which must be an instance of `kind`.

    Raises:
        ConfigError: as for `resolve`, or the object is of another class.
    """
    value = resolve(setting, name, known)
    if not isinstance(value, kind):
        raise ConfigError(f"{setting} is {name!r}, which is not a {kind.__name__}")
    return value
