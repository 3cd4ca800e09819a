"""The packages for OptunaHub: written by the example, they run with Optuna alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.commands import run
from tests.documentation import ROOT, blocks_of

PACKAGES = ("evolution", "predictor")

FRONT_MATTER = {"author", "title", "description", "tags", "optuna_versions", "license"}
"""Fields that the registry asks for; all must have a value."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    run(str(ROOT / "examples" / "optunahub" / "write_packages.py"), str(folder), cwd=folder)
    return folder


def run_alone(path: Path, registry: Path) -> str:
    return str(run(str(ROOT / "tests" / "without_ray.py"), str(path), cwd=registry).stdout)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_folder_has_the_form_of_the_registry(name: str, registry: Path) -> None:
    package = registry / "package" / "samplers" / name
    written = {path.name for path in package.iterdir()}
    assert written >= {"README.md", "LICENSE", "__init__.py", "example.py", "requirements.txt", "tests", f"{name}.py"}
    _, front_matter, text = (package / "README.md").read_text().split("---\n", 2)
    fields = yaml.safe_load(front_matter)
    assert fields.keys() == FRONT_MATTER
    assert all(fields.values())
    assert "sampler" in fields["tags"]
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE)[:4] == ["Abstract", "APIs", "Installation", "Example"]
    for path in package.glob("*.py"):
        assert not re.search(r"\b(orchestrator|search_spaces|trainables)\b", path.read_text()), path.name


@pytest.mark.parametrize("name", PACKAGES)
def test_the_example_and_the_readme_run_with_optuna_alone(name: str, registry: Path) -> None:
    package = registry / "package" / "samplers" / name
    best = float(run_alone(package / "example.py", registry).split()[0])
    assert best >= {"evolution": 16, "predictor": 6}[name]
    blocks = [block.text for block in blocks_of(package / "README.md") if block.language == "python"]
    assert blocks
    for block in blocks:
        (registry / "block.py").write_text(block)
        run_alone(registry / "block.py", registry)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_packages_tests_pass_with_optuna_alone(name: str, registry: Path) -> None:
    assert " passed" in run_alone(registry / "package" / "samplers" / name / "tests", registry)
