"""What is done with networks for signals: searched, retrained, exported, used and counted, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.config.search_config import SearchConfig
from orchestrator.networks.costs import costs_report
from orchestrator.networks.export.run import export_network
from orchestrator.networks.export.settings import ExportSettings
from orchestrator.networks.prediction import predict
from orchestrator.record.recorded_run import RecordedRun
from tests.made_up import made_up
from tests.pages import page_of
from tests.signal_files import write_wav, write_wav_folders
from tests.trained import WINNER, make_run, small_spec
from tests.tried_tasks import check_longer_costs_more, check_refused, search_and_go_on
from trainables.datasets import load_data
from trainables.exporting.program import load_network
from trainables.loader import DeviceData
from trainables.network_spec import NetworkSpec
from trainables.settings import DataSettings, TrainingSettings
from trainables.training import Training

SPEC = replace(small_spec(), classes=2, image_channels=1, image_size=(24,))


def signal_config(root: Path) -> SearchConfig:
    return SearchConfig.model_validate(
        {
            "data": {"name": "signal", "root": str(root), "validation_fraction": 0.25},
            "network": {"repeats": 1, "filters": 4},
            "training": {"epochs": 2, "batch_size": 8},
            "scheduler": {"name": "fifo"},
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a network for signals, of random weights."""
    folder = tmp_path_factory.mktemp("signals")
    return make_run(folder / "run", SPEC, config=signal_config(write_wav_folders(folder / "data", 40)))


def test_a_training_learns_signals(tmp_path: Path) -> None:
    settings = DataSettings(name="signal", root=str(write_wav_folders(tmp_path, 80)), validation_fraction=0.25)
    data = DeviceData(load_data(settings, 0), torch.device("cpu"))
    recipe = TrainingSettings(epochs=6, batch_size=8, learning_rate=0.05)
    training = Training(replace(SPEC, filters=8), recipe, data, seed=0)
    scores = [training.train_epoch().val_accuracy for _ in range(recipe.epochs)]
    assert max(scores) > 0.8


@pytest.mark.parametrize("how", ["onnx", "torch-export"])
def test_files_predict_what_the_network_does(run: Path, how: str) -> None:
    result = export_network(str(run), ExportSettings(format=how))
    assert result.file.largest_difference < 1e-4
    sounds = run.parent / "data"
    found = predict(str(result.folder / result.file.file), sounds)
    assert found.network == WINNER
    assert len(found.pictures) == 40
    ours = predict(run, sounds)
    for one, other in zip(found.pictures, ours.pictures, strict=True):
        assert one.path == other.path
        np.testing.assert_allclose(one.values, other.values, atol=1e-5)


def test_predictions_are_those_of_the_normalised_samples(run: Path) -> None:
    info = RecordedRun.read(run).info.data
    path = write_wav(run.parent / "one.wav", np.arange(0, 24000, 1000).astype(np.int16))
    samples = (np.arange(0, 24000, 1000) / 32768 - info["mean"][0]) / info["deviation"][0]
    network = load_network(SPEC, (run / "best" / "weights.safetensors").read_bytes())
    logits = network(torch.tensor(samples, dtype=torch.float32)[None, None])
    assert isinstance(logits, torch.Tensor)
    np.testing.assert_allclose(predict(run, path).pictures[0].values, logits.softmax(1)[0], atol=1e-5)


def test_the_winner_is_retrained_with_early_stopping_and_tested_once(run: Path, cellscout: Any) -> None:
    ended = cellscout("retrain", str(run), "--early-stopping", "2", "--json")
    assert ended.status == 0, ended.err
    (network,) = json.loads(ended.out)["networks"]
    assert 0 <= network["accuracy"] <= 1
    folder = run / "retrain" / WINNER
    assert NetworkSpec.from_json(json.loads((folder / "network.json").read_text())).image_size == (24,)


def test_what_does_not_apply_is_refused_in_one_line(run: Path, cellscout: Any, tmp_path: Path) -> None:
    for arguments, message in (
        (
            ("retrain", str(run), "--baseline", "resnet18"),
            "--baseline resnet18: baselines are for images, not signal data",
        ),
        (
            ("retrain", str(run), "--set", "training.flip=true"),
            "training.flip is True, which means nothing for signal data",
        ),
        (("explain", str(run), "a.png", "-o", "a.svg"), "is a network for signal data; explain draws pictures of one"),
        (("predict", str(run), str(tmp_path)), "has no signal (no file with an ending such as .wav or .npy)"),
        (("predict", str(run), "no.wav"), "no.wav: there is no such file"),
    ):
        check_refused(cellscout, arguments, message)


def test_costs_are_counted_for_one_axis(run: Path, cellscout: Any) -> None:
    found = costs_report(SPEC, 1, latency=True)
    assert found["network"].endswith("2 classes, 1x24 sequences")
    assert found["latency_seconds"] > 0
    check_longer_costs_more(cellscout, run, found)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_signals_are_searched_and_a_search_goes_on(cellscout: Any, tmp_path: Path) -> None:
    write_wav_folders(tmp_path / "data", 40)
    settings = ["data.name=signal", "data.root=data", "network.filters=4", "training.epochs=2", "training.batch_size=8"]
    settings += ["scheduler.min_epochs=1", "budget.trials=2", "confirmation.candidates=0", "space.name=nasnet"]
    said, spec = search_and_go_on(cellscout, settings)
    assert "left out of the space, because they do not exist for signal data: conv_1x3_3x1" in said
    assert (spec.image_size, spec.image_channels, spec.classes) == ((24,), 1, 2)


def test_the_page_says_signals(tmp_path: Path) -> None:
    facts = {"train": 1000, "validation": 400, "test": 300, "image_shape": [24, 1], "classes": ["low", "high"]}
    directory = made_up(tmp_path / "run", 8, data={**facts, "reading": {"task": "signal", "rate": 8000}})
    text = page_of(directory).text
    assert "on 400 validation signals is" in text
    assert "As the best of many scores on the same signals" in text
    assert "image" not in text
