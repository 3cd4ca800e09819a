"""examples/search.ipynb, run from its first cell to its last, with a search that takes no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "search.ipynb"
PARAMETERS = """
SEARCH = ["run.name=notebook", "budget.trials=8", "training.epochs=4", "trainable.name=instant", "network.filters=2",
    "resources.cpus_per_trial=2"]
RETRAIN = ["training.epochs=1"]
"""


def test_it_is_stored_without_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.timeout(600)
# Jupyter's and pandas' own.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning:zmq.*")
def test_it_runs_and_shows_what_it_promises(tmp_path: Path) -> None:
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source = PARAMETERS
    NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert "recording in" in text_of(shown["search"])
    assert data_of(shown["leaderboard"])["text/html"].count("<tr") >= 4
    assert "normal cell" in data_of(shown["cells"])["image/svg+xml"]
    for plot in ("history", "curves", "sizes"):
        assert data_of(shown[plot])["application/vnd.plotly.v1+json"]["data"]
    assert "completed" in data_of(shown["tables"])["text/html"]
    assert "accuracies" in data_of(shown["retrain"])["text/html"]


def text_of(outputs: list[Any]) -> str:
    return "".join(
        output.text if output.output_type == "stream" else str(output.get("data", {}).get("text/plain", ""))
        for output in outputs
    )


def data_of(outputs: list[Any]) -> dict[str, Any]:
    """What the cell's last line was shown as."""
    *_, data = (dict(output.data) for output in outputs if "data" in output)
    return data
