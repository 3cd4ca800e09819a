"""Runs a script, or pytest in a folder, where only Optuna and what it needs can be imported:

    python without_ray.py PATH

Not Ray, torch and PyArrow, nor the packages of this repository. In place of optunahub there is a module that finds the
registry in the current folder.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType

MISSING = {"ray", "torch", "pyarrow", "orchestrator", "search_spaces", "trainables"}


class Missing:
    """Finds none of the packages, so that importing one fails as if it was not installed."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def load_local_module(package: str, *, registry_root: str) -> ModuleType:
    """As optunahub does it: the folder becomes a module whose parent packages do not exist."""
    name = f"optunahub_registry.package.{package.replace('/', '.')}"
    spec = importlib.util.spec_from_file_location(name, Path(registry_root, package, "__init__.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_module(package: str) -> ModuleType:
    return load_local_module(package, registry_root="package")


def main(path: Path) -> int:
    optunahub = ModuleType("optunahub")
    optunahub.__dict__.update(load_local_module=load_local_module, load_module=load_module)
    sys.modules["optunahub"] = optunahub
    sys.meta_path.insert(0, Missing)
    del sys.path[0]  # this folder
    if path.is_dir():
        import pytest

        return int(pytest.main(["-q", "-p", "no:cacheprovider", str(path)]))
    runpy.run_path(str(path), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
