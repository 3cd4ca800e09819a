"""The commands that take an architecture: `draw` and `costs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search_spaces import NASNET_A
from trainables.network_spec import NetworkSpec


def test_draw_takes_published_cells_files_and_runs(cellscout: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(NASNET_A.to_json()))
    best = tmp_path / "run" / "best"
    best.mkdir(parents=True)
    spec = NetworkSpec(architecture=NASNET_A, repeats=1, filters=4, classes=3)
    (best / "network.json").write_text(json.dumps(spec.to_json()))
    for source in ("nasnet_a", "mine.json", "run", "run/best/network.json"):
        assert cellscout("draw", source, "-o", "cell.svg").status == 0
        assert "sep_conv_5x5" in (tmp_path / "cell.svg").read_text()
    assert cellscout("draw", "darts_v2", "-o", "cell.png").status == 0
    assert (tmp_path / "cell.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nasnt_a", "-o", "a.svg"],
            "'nasnt_a' is not a published cell, a file or a run directory; did you mean 'nasnet_a'?",
        ),
        (["nasnet_a", "-o", "a.gif"], "a.gif ends in '.gif'; a picture can be .svg, .png, .pdf"),
        (["nasnet_a", "-o", "absent/a.svg"], "absent/a.svg cannot be written: there is no folder absent"),
        (["text.json", "-o", "a.svg"], "text.json is not JSON"),
        (
            ["list.json", "-o", "a.svg"],
            "list.json does not contain an architecture: not an architecture",
        ),
        (["network.json", "-o", "a.svg"], "network.json does not contain an architecture: not a network: "),
        (["empty", "-o", "a.svg"], "'empty' has no best network (no best/network.json there)"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(
    arguments: list[str], message: str, cellscout: Any, tmp_path: Path
) -> None:
    (tmp_path / "text.json").write_text("hello")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "network.json").write_text(json.dumps({"architecture": NASNET_A.to_json()}))
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    ended = cellscout("draw", *arguments)
    assert ended.status == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_costs_of_a_network(cellscout: Any) -> None:
    found = json.loads(cellscout("costs", "nasnet_a", "--repeats", "6", "--filters", "32", "--json").out)
    assert found["network"] == "skeleton nasnet_cifar, N = 6, F = 32, 10 classes, 3x32x32 images"
    assert (found["parameters"], found["macs"]) == (3_346_538, 544_333_312)
    more = json.loads(
        cellscout("costs", "nasnet_a", "--repeats", "6", "--filters", "32", "--batch-size", "8", "--json").out
    )
    assert more["activation_bytes"] == 8 * found["activation_bytes"]
    mobile = ["--skeleton", "nasnet_mobile", "--repeats", "4", "--filters", "44", "--classes", "1000"]
    assert "5,289,978" in cellscout("costs", "nasnet_a", *mobile, "--image-size", "224").out


def test_the_latency_is_measured_on_request(cellscout: Any) -> None:
    small = ["costs", "darts_v2", "--repeats", "1", "--filters", "2", "--image-size", "8", "--json"]
    assert "latency_seconds" not in json.loads(cellscout(*small).out)
    found = json.loads(cellscout(*small, "--latency").out)
    assert found["device"] in ("cpu", "cuda")
    assert 0 < found["latency_lower_quartile_seconds"] <= found["latency_seconds"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--filters", "1"], "filters is 1; a whole number of at least 2 is needed"),
        (["--skeleton", "darts"], "--skeleton is 'darts'; known: amoebanet_cifar"),
        (["--skeleton", ":x"], "--skeleton is ':x'; known: amoebanet_cifar"),
        (["--filters", "99999999"], "less than or equal to 4096"),
        (["--skeleton", "json:dumps"], "--skeleton is 'json:dumps', which is not a Skeleton"),
        (
            ["--skeleton", "nasnet_large", "--image-size", "2"],
            "image_size is (2, 2); the stem 'strided' needs at least 3x3 pixels",
        ),
    ],
)
def test_costs_of_impossible_networks_are_refused(arguments: list[str], message: str, cellscout: Any) -> None:
    ended = cellscout("costs", "nasnet_a", *arguments)
    assert ended.status == 2
    assert message in ended.err
