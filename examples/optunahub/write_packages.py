"""Writes the samplers `predictor` and `evolution` as packages for OptunaHub:

    python examples/optunahub/write_packages.py FOLDER

FOLDER is a clone of OptunaHub's registry, or any other folder: the packages are written to `package/samplers` in it.
They need Optuna and SciPy. They have no code of their own: `__init__.py` names modules of cellscout, which are copied
together with the modules that these import.
"""

import argparse
import re
import shutil
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGES = ("predictor", "evolution")

SOURCES = ("orchestrator.samplers", "search_spaces")
"""Packages of cellscout from which modules are copied. All go into one folder, so no two may have the same name."""


def write_package(name: str, folder: Path) -> None:
    """Write a package, with all modules that its `__init__.py` imports."""
    shutil.copytree(HERE / name, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "LICENSE", folder)
    pending = imported_modules((folder / "__init__.py").read_text())
    written: set[str] = set()
    while pending:
        module = pending.pop()
        code = with_relative_imports(source_of(module).read_text())
        (folder / f"{module}.py").write_text(code)
        written.add(module)
        pending |= imported_modules(code) - written


def source_of(module: str) -> Path:
    """Return the file of a module in one of the packages of cellscout."""
    (found,) = (path for source in SOURCES if (path := ROOT / source.replace(".", "/") / f"{module}.py").exists())
    return found


def imported_modules(code: str) -> set[str]:
    """Return the names of the modules that relative imports name."""
    return set(re.findall(r"^ *from \.(\w+) import", code, flags=re.MULTILINE))


def with_relative_imports(code: str) -> str:
    """Return the code with relative imports, and without the names of cellscout's packages in its docstrings."""
    packages = "|".join(re.escape(source) for source in SOURCES)
    code = re.sub(rf"^( *from )(?:{packages})\.", r"\1.", code, flags=re.MULTILINE)
    return re.sub(rf"\b(?:{packages})\.", "", code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a clone of OptunaHub's registry, or any other folder")
    folder = parser.parse_args().folder / "package" / "samplers"
    for name in PACKAGES:
        write_package(name, folder / name)
        print(f"wrote {folder / name}")


if __name__ == "__main__":
    main()
