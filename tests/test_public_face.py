"""The package `cellscout`: its names, what importing it costs, and that examples use nothing else."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import ray

import cellscout
from orchestrator.record.run_state import RunState
from tests.builders import config, info
from tests.confirmed_records import confirm
from tests.documentation import DOCS, ROOT
from tests.made_up import made_up

STUB = ast.parse((ROOT / "cellscout" / "__init__.pyi").read_text())
OURS = {"orchestrator", "search_spaces", "trainables"}
OPTUNAHUB = ROOT / "examples" / "optunahub"


def test_every_name_exists_and_is_on_the_page() -> None:
    assert {"search", "resume", "evaluate", "retrain", "export", "predict", "load_run"} <= set(dir(cellscout))
    for name in dir(cellscout):
        getattr(cellscout, name)
    assert callable(cellscout.search)
    with pytest.raises(AttributeError, match="module 'cellscout' has no attribute 'run_search'"):
        cellscout.run_search  # type: ignore[attr-defined]  # noqa: B018
    table = "\n".join(re.findall(r"^\| .*$", (DOCS / "python.md").read_text(), flags=re.MULTILINE))
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(dir(cellscout))


def test_every_name_comes_through_a_door() -> None:
    """import-linter does not read stubs."""
    for statement in STUB.body:
        if isinstance(statement, ast.ImportFrom):
            module = str(statement.module)
            names = importlib.import_module(module).__all__ if module != "orchestrator.errors" else None
            assert names is None or {alias.name for alias in statement.names} <= set(names), module


def test_the_import_is_cheap() -> None:
    code = "import sys, cellscout; dir(cellscout); cellscout.CellSpace, cellscout.ConfigError;"
    code += "print(sorted({'optuna', 'plotly', 'pydantic', 'pyarrow', 'ray', 'torch'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_examples_import_nothing_else_of_ours() -> None:
    scripts = [path for path in (ROOT / "examples").rglob("*.py") if not path.is_relative_to(OPTUNAHUB)]
    notebook = nbformat.read(ROOT / "examples" / "search.ipynb", as_version=4)
    cells = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    blocks = [block for page in pages for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)]
    assert len(scripts) > 10
    assert len(blocks) > 10
    for code in [*(path.read_text() for path in scripts), cells, *blocks]:
        assert not packages_of(code) & OURS, code


def packages_of(code: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


def test_results_are_printed_in_one_line(tmp_path: Path) -> None:
    run = cellscout.load_run(made_up(tmp_path / "run", 5).location)
    state = run.state()
    assert repr(run) == f"<RecordedRun {tmp_path}/run>"
    assert repr(state.trials["00002"]) == "<Trial 00002: pruned, 3 epochs, val_accuracy 0.5601>"
    begins = f"<SearchResult {tmp_path}/run: completed, "
    found = cellscout.SearchResult(run.directory, state, run.info)
    assert repr(found) == f"{begins}winner 0.8572 (trial 00000, 9 epochs)>"
    confirmed = confirm(run.directory, {"00000": [0.8, 0.81]})
    found = cellscout.SearchResult(run.directory, confirmed, run.info)
    assert repr(found) == f"{begins}winner 0.8050, between 0.7850 and 0.8250 (trial 00000, 2 new trainings)>"
    none = cellscout.SearchResult(run.directory, RunState(), info(state="failed"))
    assert repr(none) == f"<SearchResult {tmp_path}/run: failed, no winner>"


def test_a_result_has_the_tables_of_its_record(tmp_path: Path) -> None:
    run = cellscout.load_run(made_up(tmp_path / "run", 5).location)
    result = cellscout.SearchResult(run.directory, run.state(), run.info)
    assert (result.trials(), result.epochs()) == (run.trials(), run.epochs())


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_searches_go_on_in_the_ray_that_runs_and_tell_their_events(tmp_path: Path) -> None:
    settings = cellscout.load_config(config(training={"epochs": 2}), ["budget.trials=3"])
    job = ray.get_runtime_context().get_job_id()
    for seed in range(2):
        seen: list[cellscout.Event] = []
        seeded = cellscout.load_config(settings, [f"run.seed={seed}"])
        result = cellscout.search(seeded, run_dir=tmp_path / f"{seed}", on_event=seen.append)
        assert (result.info.state, result.config.run.seed) == ("completed", seed)
        assert ray.is_initialized()
        assert ray.get_runtime_context().get_job_id() == job
        run = cellscout.load_run(result.directory.location)
        assert seen == run.events()
        assert sum(isinstance(event, cellscout.EpochDone) for event in seen) == run.epochs().num_rows
        assert (run.trials().num_rows, run.winner) == (3, result.winner)


ALONE = """
import sys, ray, cellscout
settings = ["trainable.name=instant", "training.epochs=2", "budget.trials=2", "confirmation.candidates=0"]
cellscout.search(cellscout.load_config(changes=settings), run_dir=sys.argv[1])
print(ray.is_initialized())
"""


@pytest.mark.slow
def test_a_search_that_starts_ray_stops_it(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", ALONE, str(tmp_path / "run")], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "False\n"), ended.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_search_fails_with_its_callback_and_is_resumed(tmp_path: Path) -> None:
    def refuse(event: cellscout.Event) -> None:
        if isinstance(event, cellscout.EpochDone):
            raise RuntimeError("no more")

    settings = config(training={"epochs": 2}, budget={"trials": 2})
    with pytest.raises(cellscout.SearchError, match="no more"):
        cellscout.search(settings, run_dir=tmp_path / "run", on_event=refuse)
    assert cellscout.load_run(tmp_path / "run").standing == "failed"
    assert cellscout.resume(tmp_path / "run").info.state == "completed"
