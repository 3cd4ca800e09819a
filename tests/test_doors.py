"""The doors of the rooms: what they offer exists, and what importing them costs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator

ROOMS = sorted(stub.parent.name for stub in Path(str(orchestrator.__file__)).parent.glob("*/__init__.pyi"))


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_that_a_door_offers_exists(room: str) -> None:
    door = importlib.import_module(f"orchestrator.{room}")
    assert dir(door)
    for name in dir(door):
        getattr(door, name)


def test_no_door_imports_a_large_package() -> None:
    code = f"import sys, orchestrator, {', '.join(f'orchestrator.{room}' for room in ROOMS)}\n"
    code += "print(sorted({'numpy', 'optuna', 'plotly', 'pydantic', 'ray', 'scipy', 'torch'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_no_module_of_the_driver_imports_torch() -> None:
    """All modules but `__main__`, which would run a command."""
    code = """
import importlib, pkgutil, sys, orchestrator
for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(sorted({"torch", "torchvision"} & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_spaces_and_the_predictor_do_not_import_ray() -> None:
    code = "import sys, search_spaces, orchestrator.samplers.predictor; print({'pyarrow', 'ray'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
