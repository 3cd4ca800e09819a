"""Searches for neural-network cells in parallel. This is what a program uses; docs/python.md shows it.

Each name is imported when it is first used, so `import cellscout` is cheap. `__init__.pyi` lists the names, with the
doors that they come from.
"""

import ast
import importlib
from pathlib import Path
from typing import Any


def _read_stub() -> dict[str, tuple[str, str]]:
    """Return the module and the name in it for each public name.

    A stub re-exports by `import NAME as NAME`, and a name that is shorter here by an assignment.
    """
    statements = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
    imports = [(one.module, alias) for one in statements if isinstance(one, ast.ImportFrom) for alias in one.names]
    found = {alias.name: (str(module), alias.name) for module, alias in imports}
    public = {alias.asname: found[alias.name] for _, alias in imports if alias.asname is not None}
    for one in statements:
        if isinstance(one, ast.Assign):
            public |= {ast.unparse(target): found[ast.unparse(one.value)] for target in one.targets}
    return public


_PLACES = _read_stub()

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, original = _PLACES[name]
    value = getattr(importlib.import_module(module), original)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return __all__
