"""What is done with networks for masks: trained, exported, used, retrained, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from orchestrator.config.search_config import SearchConfig
from orchestrator.networks.export.run import export_network
from orchestrator.networks.export.settings import ExportSettings
from orchestrator.networks.mask_pictures import drawn_over, palette
from orchestrator.networks.prediction import predict
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.results import Retrained
from tests.made_up import made_up
from tests.mask_files import SIZE, rectangles, write_mask_folders
from tests.pages import page_of
from tests.trained import make_run, small_spec
from tests.tried_tasks import check_refused, search_and_go_on
from trainables.baseline_spec import BaselineSpec
from trainables.baselines import BaselineNetwork
from trainables.datasets import load_data
from trainables.exporting.program import load_network
from trainables.loader import DeviceData
from trainables.settings import DataSettings, TrainingSettings
from trainables.training import Training

SPEC = replace(small_spec(), classes=3, image_channels=3, image_size=SIZE, head="skip")


def mask_config(root: Path) -> SearchConfig:
    return SearchConfig.model_validate(
        {
            "data": {"name": "segmentation", "root": str(root), "validation_fraction": 0.25},
            "network": {"repeats": 1, "filters": 4},
            "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.02},
            "scheduler": {"name": "fifo"},
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a network for masks, of random weights."""
    folder = tmp_path_factory.mktemp("masks")
    return make_run(folder / "run", SPEC, config=mask_config(write_mask_folders(folder / "data", 40)))


def test_a_training_learns_masks_with_parts_of_batches(tmp_path: Path) -> None:
    settings = DataSettings(name="segmentation", root=str(write_mask_folders(tmp_path, 60)), validation_fraction=0.25)
    data = DeviceData(load_data(settings, 0), torch.device("cpu"))
    recipe = TrainingSettings(epochs=6, batch_size=8, learning_rate=0.1, flip=True)
    training = Training(SPEC, recipe, data, seed=0, micro_batches=2)
    assert max(training.train_epoch().val_accuracy for _ in range(recipe.epochs)) > 0.35  # always the background: 0.25


@pytest.mark.parametrize("how", ["onnx", "torch-export"])
def test_files_predict_the_masks_of_the_network(run: Path, how: str, tmp_path: Path, cellscout: Any) -> None:
    result = export_network(str(run), ExportSettings(format=how))
    assert result.file.largest_difference < 1e-4
    assert 0 < result.file.scores.accuracy == pytest.approx(result.file.pytorch.accuracy, abs=1e-6)
    pictures = run.parent / "data" / "images"
    found = predict(result.location, pictures)
    network = load_network(SPEC, (run / "best" / "weights.safetensors").read_bytes())
    facts = RecordedRun.read(run).info.data
    pixels = torch.tensor((rectangles(40)[0][:1] - np.array(facts["mean"])) / facts["deviation"], dtype=torch.float32)
    logits = network(pixels.movedim(-1, 1))
    assert isinstance(logits, Tensor)
    first = found.pictures[0]
    assert first.mask is not None
    assert (first.mask == logits[0].argmax(dim=0).numpy()).mean() > 0.99
    np.testing.assert_allclose(first.values, np.bincount(first.mask.ravel(), minlength=3) / first.mask.size)
    assert found.table().column_names == ["path", "p_0", "p_1", "p_2"]
    ended = cellscout("predict", result.location, str(pictures), "-o", str(tmp_path / "masks"))
    assert ended.status == 0, ended.err
    with Image.open(tmp_path / "masks" / "000.mask.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), first.mask)
        np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), palette()[first.mask])
    with Image.open(tmp_path / "masks" / "000.over.png") as over:
        np.testing.assert_array_equal(np.asarray(over), drawn_over(first.mask, rectangles(40)[0][0]))


def test_a_mask_has_the_size_of_its_picture(run: Path, tmp_path: Path, cellscout: Any) -> None:
    Image.new("RGB", (30, 50)).save(tmp_path / "a.png")
    assert cellscout("predict", str(run), str(tmp_path / "a.png"), "-o", str(tmp_path / "out")).status == 0
    with Image.open(tmp_path / "out" / "a.mask.png") as mask, Image.open(tmp_path / "out" / "a.over.png") as over:
        assert mask.size == over.size == (30, 50)
    assert palette()[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]  # Pascal VOC's


def test_the_winner_and_a_baseline_are_retrained_and_tested_by_class(run: Path, cellscout: Any) -> None:
    words = ("retrain", str(run), "--baseline", "lraspp_mobilenet_v3_large", "--set", "training.epochs=1")
    ended = cellscout(*words, "--name", "full", "--json")
    assert ended.status == 0, ended.err
    for network in json.loads(ended.out)["networks"]:
        assert network["score"] == "mean intersection over union"
        assert set(network["by_class"]) == {"0", "1", "2"}
        assert network["accuracy"] == pytest.approx(np.mean(list(network["by_class"].values())))
    with Image.open(run / "retrain" / "full" / "examples.png") as drawing:
        assert drawing.size[0] > 500
    assert "full by class: 0 0." in cellscout(*words, "--name", "full").out
    assert (
        json.loads((run / "retrain" / "full" / "result.json").read_text())["by_class"]
        == json.loads(ended.out)["networks"][0]["by_class"]
    )


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "fcn_resnet50"])
def test_baselines_give_a_class_for_each_pixel(name: str) -> None:
    network = BaselineNetwork(BaselineSpec(baseline=name, classes=3, image_channels=1, image_size=(40, 48))).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 1, 40, 48)).shape == (2, 3, 40, 48)
    assert network.macs > 1e6


def test_what_does_not_apply_is_refused_in_one_line(run: Path, cellscout: Any) -> None:
    for arguments, message in (
        (("retrain", str(run), "--baseline", "resnet18"), "'resnet18' is not one of torchvision's segmentation models"),
        (("retrain", str(run), "--set", "training.cutout=4"), "training.cutout is 4, which means nothing for segmen"),
        (("explain", str(run), "a.png", "-o", "a.svg"), "is a network for segmentation data; explain draws"),
        (("predict", str(run), "a.png", "-o", "a.txt"), "it must end in .csv or .parquet, or be a folder for masks"),
    ):
        check_refused(cellscout, arguments, message)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_masks_are_searched_and_confirmed_and_a_search_goes_on(cellscout: Any, tmp_path: Path) -> None:
    write_mask_folders(tmp_path / "data", 40)
    settings = ["data.name=segmentation", "data.root=data", "network.filters=4", "training.epochs=1"]
    settings += ["training.batch_size=8", "scheduler.min_epochs=1", "budget.trials=2", "network.decoder=fcn"]
    _, spec = search_and_go_on(cellscout, settings)
    assert "accuracy    is the mean intersection over union" in cellscout("status", "run").out
    assert (spec.head, spec.image_size, spec.classes) == ("fcn", SIZE, 3)
    ended = cellscout("evaluate", "run", "--top", "2", "--folds", "2", "--no-baseline")
    assert ended.status == 0, ended.err


def test_the_page_says_what_the_score_is(tmp_path: Path) -> None:
    facts = {"train": 1000, "validation": 400, "test": 300, "image_shape": [24, 24, 3], "classes": ["sky", "road"]}
    score = {"name": "mean intersection over union", "is_share": False}
    directory = made_up(tmp_path / "run", 8, data={**facts, "score": score, "outputs": "masks"})
    folder = tmp_path / "run" / "retrain" / "full"
    folder.mkdir(parents=True)
    result = Retrained(
        name="full",
        location=str(folder),
        parameters=1,
        macs=1,
        seeds=[0],
        accuracies={0: 0.5},
        epochs=1,
        train_seconds=1,
        device="cpu",
        latency_seconds=0.1,
        test_number=1,
        tested_at=None,
        is_over=True,
        accuracy=0.5,
        deviation=None,
        score=str(score["name"]),
        by_class={"sky": 0.75, "road": None},
    )
    (folder / "result.json").write_text(json.dumps(result.to_json()))
    (folder / "examples.png").write_bytes(b"a picture")
    page = page_of(directory)
    text = page.text
    assert [image["src"] for image in page.all("img")] == ["data:image/png;base64,YSBwaWN0dXJl"]
    assert "full on the first test images." in text
    assert "accuracy: mean intersection over union; by class: sky 0.750, road -" in text
    assert "the mean intersection over union on the validation images" in text
    assert "standard error of such a score" not in text
    assert "classified correctly" not in text
