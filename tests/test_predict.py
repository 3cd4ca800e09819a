"""`cellscout predict`: of files in each format and of trained networks, pictures and folders, and what cannot be."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from orchestrator.networks.export.run import export_network
from orchestrator.networks.export.settings import ExportSettings
from orchestrator.networks.prediction import predict
from tests.object_store import ObjectStore
from tests.trained import WINNER, make_run, small_spec
from trainables.exporting.program import load_network, make_runner
from trainables.storage import Folder

TWO_FORMATS = ["model.onnx", "model.pt2"]


def draw(path: Path, seed: int = 0, mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)).convert(mode).save(path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a network of random weights, exported."""
    folder = make_run(tmp_path_factory.mktemp("predict") / "run", small_spec())
    for name in ("onnx", "torch-export"):
        export_network(str(folder), ExportSettings(format=name))
    return folder


@pytest.fixture
def here(run: Path, cellscout: Any, tmp_path: Path) -> Path:
    """The working folder, with the run and the exported files in it."""
    (tmp_path / "run").symlink_to(run)
    for name in TWO_FORMATS:
        (tmp_path / name).symlink_to(run / "best" / "export" / name)
    return tmp_path


def test_files_and_the_network_itself_say_the_same(here: Path, cellscout: Any) -> None:
    paths = [draw(here / f"{seed}.png", seed) for seed in range(3)]
    network = load_network(small_spec(), (here / "run" / "best" / "weights.safetensors").read_bytes())
    info = json.loads((here / "run" / "run.json").read_text())["data"]
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])[:, None]
    logits = make_runner(network)(((pixels - info["mean"][0]) / info["deviation"][0]).astype(np.float32))
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for model in ("run", "run/best", *TWO_FORMATS):
        found = json.loads(cellscout("predict", model, "0.png", "1.png", "2.png", "--json").out)
        assert found["network"] == WINNER
        assert [picture["path"] for picture in found["pictures"]] == ["0.png", "1.png", "2.png"]
        for picture, row in zip(found["pictures"], wanted, strict=True):
            assert list(picture["probabilities"]) == list("0123456789")
            np.testing.assert_allclose(list(picture["probabilities"].values()), row, atol=1e-5)
            assert picture["prediction"] == str(row.argmax())
            assert picture["probability"] == pytest.approx(row.max(), abs=1e-5)


def test_the_likeliest_classes_are_printed(here: Path, cellscout: Any) -> None:
    draw(here / "a.png")
    told = cellscout("predict", "model.onnx", "a.png")
    assert re.match(r"a.png(  \d [\d.]+ %){3}\n$", told.out)
    assert told.err == ""
    shares = [float(share) for share in re.findall(r"([\d.]+) %", told.out)]
    assert shares == sorted(shares, reverse=True)
    assert cellscout("predict", "model.onnx", "a.png", "--top", "1").out.count("%") == 1
    assert cellscout("predict", "model.onnx", "a.png", "--top", "99").out.count("%") == 10
    assert cellscout("predict", "run", "a.png").err == "with the network in run/best\n"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_folder_becomes_a_table_a_row_a_picture(suffix: str, here: Path, cellscout: Any) -> None:
    names = sorted([f"scans/{number:03}.png" for number in range(150)] + ["scans/deep/er/b.PNG"])
    for seed, name in enumerate(names):
        draw(here / name, seed)
    (here / "scans" / "notes.txt").write_text("no picture")
    shown = cellscout("predict", "model.onnx", "scans", "--output", f"found.{suffix}")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out == f"151 pictures in found.{suffix}\n"
    if suffix == "csv":
        with (here / "found.csv").open(newline="") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    else:
        rows = pq.read_table(here / "found.parquet").to_pylist()
    assert [row["path"] for row in rows] == names
    assert list(rows[0]) == ["path", "prediction", "probability", *(f"p_{digit}" for digit in range(10))]
    for row in rows:
        shares = [float(row[f"p_{digit}"]) for digit in range(10)]
        assert sum(shares) == pytest.approx(1)
        assert (row["prediction"], float(row["probability"])) == (str(int(np.argmax(shares))), max(shares))
    (alone,) = predict("model.onnx", [here / names[100]]).pictures
    assert float(rows[100]["probability"]) == pytest.approx(alone.values.max(), abs=1e-6)
    assert len(cellscout("predict", "model.onnx", "scans").out.splitlines()) == 151


def test_pictures_of_a_folder_that_cannot_be_read_are_named_and_the_others_answered(here: Path, cellscout: Any) -> None:
    draw(here / "scans" / "a.png")
    draw(here / "scans" / "colour.png", mode="RGB")
    (here / "scans" / "spoilt.jpg").write_bytes(b"x")
    shown = cellscout("predict", "model.onnx", "scans", "-o", "found.csv")
    assert shown.status == 1
    assert shown.err.splitlines() == [
        "cellscout: scans/colour.png has 3 channels (mode RGB); the network takes 1",
        "cellscout: scans/spoilt.jpg cannot be read as a picture",
    ]
    assert (here / "found.csv").read_text().count("\n") == 2
    found = cellscout("predict", "model.onnx", "scans", "--json")
    assert (found.status, len(json.loads(found.out)["unreadable"])) == (1, 2)


def test_names_that_are_not_utf8_are_shown_and_written_as_text(here: Path, cellscout: Any) -> None:
    draw(here / "scans" / os.fsdecode(b"\xe9t\xe9.png"))
    draw(here / "scans" / ".cache" / "hidden.png")
    draw(here / "scans" / ".hidden.png")
    shown = "scans/\\xe9t\\xe9.png"
    assert cellscout("predict", "model.onnx", "scans").out.startswith(f"{shown}  ")
    assert json.loads(cellscout("predict", "model.onnx", "scans", "--json").out)["pictures"][0]["path"] == shown
    for output in ("found.csv", "found.parquet"):
        assert cellscout("predict", "model.onnx", "scans", "-o", output).out == f"1 picture in {output}\n"
    with (here / "found.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [shown]
    assert pq.read_table(here / "found.parquet")["path"].to_pylist() == [shown]
    refused = cellscout("predict", "model.onnx", "scans", "-o", os.fsdecode(b"\xe9.csv"))
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "is not UTF-8; use another name" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.onnx", "a.png"], "nowhere.onnx: there is no such file"),
        (["no/where.pt2", "a.png"], "no/where.pt2: there is no such file"),
        (["nowhere", "a.png"], "nowhere holds no run"),
        (
            ["a.png", "a.png"],
            "a.png is neither an exported file (.onnx, .pt2, .pte) nor the folder of a trained network",
        ),
        (["spoilt.onnx", "a.png"], "spoilt.onnx is not a valid file of cellscout export: ONNX Runtime cannot read it"),
        (
            ["spoilt.pt2", "a.png"],
            "spoilt.pt2 is not a valid file of cellscout export: it is not an archive of torch.export",
        ),
        (["zip.pt2", "a.png"], "zip.pt2 is not a valid file of cellscout export: it has no metadata 'cellscout'"),
        (
            ["others.onnx", "a.png"],
            "others.onnx is not a valid file of cellscout export: it has no metadata 'cellscout'",
        ),
        (["model.onnx", "model.onnx", "a.png"], "model.onnx is a second exported network; name one network, and then"),
        (["run", "none.png"], "none.png: there is no such file"),
        (["run", "a.png", "spoilt.png"], "spoilt.png cannot be read as a picture"),
        (["run", "colour.png"], "colour.png has 3 channels (mode RGB); the network takes 1"),
        (["run", "empty"], "empty has no picture"),
        (["run", "bad"], "none of 1 picture can be read; the first: bad/spoilt.png cannot be read as a picture"),
        (["run", "a.png", "-o", "found.txt"], "--output is 'found.txt'; it must end in .csv or .parquet"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_told_in_one_line_and_nothing_is_written(
    arguments: list[str], message: str, here: Path, cellscout: Any
) -> None:
    draw(here / "a.png")
    draw(here / "colour.png", mode="RGB")
    for name in ("spoilt.onnx", "spoilt.pt2", "spoilt.png", "bad/spoilt.png", "empty/notes.txt"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_bytes(b"no such thing")
    write_others(here)
    output = [] if "-o" in arguments else ["-o", "found.csv"]
    shown = cellscout("predict", *arguments, *output)
    assert (shown.status, shown.out) == (2, "")
    assert shown.err.count("\n") == 1
    assert message in shown.err
    assert not list(here.glob("found.*"))


def write_others(folder: Path) -> None:
    """An ONNX file and an archive that are sound, but not of `cellscout export`."""
    import zipfile

    import onnx

    with zipfile.ZipFile(folder / "zip.pt2", "w") as archive:
        archive.writestr("archive/models/model.json", "{}")
    model = onnx.load(folder / "model.onnx")
    del model.metadata_props[:]
    (folder / "others.onnx").write_bytes(model.SerializeToString())


def test_a_missing_runtime_is_named(here: Path, cellscout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    draw(here / "a.png")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    shown = cellscout("predict", "model.onnx", "a.png")
    assert shown.status == 2
    assert shown.err == 'cellscout: onnx needs onnxruntime; install with: pip install "cellscout[export]"\n'


def test_a_file_on_an_object_store(here: Path, object_store: ObjectStore, cellscout: Any) -> None:
    place = f"bucket/{here.name}"
    Folder.at(object_store.uri(place)).write("model.onnx", (here / "model.onnx").read_bytes())
    draw(here / "a.png")
    theirs = cellscout("predict", object_store.uri(f"{place}/model.onnx"), "a.png")
    assert theirs.status == 0, theirs.err
    assert theirs.out == cellscout("predict", "model.onnx", "a.png").out
