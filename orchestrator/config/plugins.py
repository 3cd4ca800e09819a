"""Resolves names in a search file: built-in ones from a table, a user's own as `module:NAME`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from orchestrator.errors import ConfigError
from trainables.plugins import import_plugin, is_plugin_name
from trainables.settings import did_you_mean

T = TypeVar("T")


def check_name(setting: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is neither known nor of the form `module:NAME`.

    Raises:
        ConfigError: lists the known names, and the nearest one if there is any.
    """
    known = sorted(known)
    if name not in known and not is_plugin_name(name):
        module, _, attribute = name.rpartition(".")
        meant = f"{module}:{attribute}"
        hint = f"; did you mean {meant!r}?" if is_plugin_name(meant) else did_you_mean(name, known)
        raise ConfigError(f"{setting} is {name!r}; known: {', '.join(known)}, or 'module:NAME'{hint}")


def resolve(setting: str, name: str, known: Mapping[str, T]) -> T | Any:
    """The built-in or imported object of this name.

    Raises:
        ConfigError: the name is unknown, or its module or attribute does not exist.
    """
    check_name(setting, name, known)
    if name in known:
        return known[name]
    try:
        return import_plugin(name)
    except ValueError as error:
        raise ConfigError(f"{setting} is {name!r}, but {error}") from error


def resolve_value(setting: str, *, name: str, known: Mapping[str, T], kind: type[T]) -> T:
    """The built-in or imported object of this name, which must be an instance of `kind`.

    Raises:
        ConfigError: as for `resolve`, or the object is of another class.
    """
    value = resolve(setting, name, known)
    if not isinstance(value, kind):
        raise ConfigError(f"{setting} is {name!r}, which is not a {kind.__name__}")
    return value
