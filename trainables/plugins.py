"""Imports an object of the user's by its name, `module:NAME`. No torch.

Its module is among the installed packages, or in the folder in which the command runs.
"""

from __future__ import annotations

import importlib
from contextvars import ContextVar
from pathlib import Path
from typing import Any

_importing: ContextVar[str | None] = ContextVar("importing", default=None)


def module_being_imported() -> str | None:
    """The module of the plug-in whose import runs this code; None if there is none."""
    return _importing.get()


def is_plugin_name(name: str) -> bool:
    """Whether a name has the form `module:NAME`, as opposed to a name of our own."""
    module, separator, attribute = name.partition(":")
    return bool(separator) and all(part.isidentifier() for part in [*module.split("."), attribute])


def import_plugin(name: str) -> Any:
    """Import the object of this name.

    Raises:
        ValueError: the module or its attribute does not exist, or the module raised an exception. The message is
            one line that begins with the module.
    """
    module_name, _, attribute = name.partition(":")
    before = _importing.set(module_name)
    try:
        found = importlib.import_module(module_name)
    except ImportError as error:
        is_missing = getattr(error, "name", None) == module_name
        where = f" (looked for among packages and in {Path.cwd()})" if is_missing else ""
        raise ValueError(f"module {module_name!r} cannot be imported: {error}{where}") from error
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        raise ValueError(f"module {module_name!r} raised {type(error).__name__}: {lines[-1]}") from error
    finally:
        _importing.reset(before)
    if not hasattr(found, attribute):
        place = getattr(found, "__file__", None) or "a part of Python"
        raise ValueError(
            f"module {module_name!r} ({place}) has no {attribute!r}; installed modules come before those of the "
            "working folder"
        )
    return getattr(found, attribute)
