"""Every command and code block of README.md and docs/*.md runs here; what needs minutes, a cluster or the network is
read by the program that it is for, with all its options.

The README's blocks run first, in their order, in one folder. They leave the run of the digits, evaluated, retrained and
exported, that the other pages' blocks then stand on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.config.loading import DEFAULT_SEARCH
from tests.documentation import (
    BLOCKS,
    README,
    ROOT,
    Block,
    blocks_of,
)
from tests.documentation_blocks import (
    RUN,
    run_block,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Iterator[Path]:
    """The folder in which the README's blocks have run."""
    folder = tmp_path_factory.mktemp("documentation")
    for name in ("examples", "cluster.yaml", "docs", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "search.toml").write_text(DEFAULT_SEARCH.read_text())
    (shown,) = [block.text.split() for block in BLOCKS if block.text.startswith("flowers/")]
    for picture in [*shown, *(f"flowers/{name}/1{index:02}.jpg" for name in ("daisy", "rose") for index in range(28))]:
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (200 if "daisy" in picture else 50, 90, 90)).save(folder / picture)
    (folder / "scans").mkdir()
    for name in ("digit.png", "seven.png", "nine.png", "scans/first.png"):
        Image.new("L", (8, 8), 90).save(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(ROOT / "examples"))
        patch.setattr(sys, "argv", ["python"])
        for block in blocks_of(README):
            run_block(block)
        yield folder


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.page != README], ids=str)
def test_a_block_runs(block: Block, place: Path) -> None:
    run_block(block)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_readmes_blocks_run_and_lead_to_an_answer(place: Path) -> None:
    run = place / RUN
    assert (run / "evaluation" / "evaluation.json").exists()
    winner = json.loads((run / "best" / "metrics.json").read_text())["trial_id"]
    for left in ("result.json", "export/model.int8.onnx"):
        assert (run / "retrain" / winner / left).exists()
    assert (place / "runs" / "flowers" / "best" / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("language", "text", "message"),
    [
        ("yaml", "a: 1\n", "no rule for a block in 'yaml'"),
        ("", "cellscout list spaces\n", "no rule for a block in ''"),
        ("sh", "curl example.org\n", "no rule for the program 'curl'"),
        ("text", "whatever\n", "no rule for a text that begins with 'whatever'"),
    ],
)
def test_a_block_that_no_rule_handles_fails(language: str, text: str, message: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=message):
        run_block(Block(README, 1, language, text))
