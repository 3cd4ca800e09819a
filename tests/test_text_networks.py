"""What is done with networks for texts: searched, retrained, exported, used and counted, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from orchestrator.config.search_config import SearchConfig
from orchestrator.networks.costs import costs_report
from orchestrator.networks.export.run import export_network
from orchestrator.networks.export.settings import ExportSettings
from orchestrator.networks.prediction import predict
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.search.passed import PassedParts
from orchestrator.search.setup import SearchComponents
from tests.kept_tensors import kept_for_backward
from tests.made_up import made_up
from tests.pages import page_of
from tests.text_files import question_file, write_text_folders
from tests.trained import WINNER, make_run, small_spec
from tests.tried_tasks import check_longer_costs_more, check_refused, search_and_go_on
from trainables.costs import network_costs
from trainables.datasets import DataSplits, load_data
from trainables.exporting.program import load_network
from trainables.layers import Embedding
from trainables.loader import DeviceData
from trainables.network import CellNetwork
from trainables.network_plan import plan_network
from trainables.network_spec import NetworkSpec
from trainables.settings import DataSettings, TrainingSettings
from trainables.skeleton import SKELETONS
from trainables.training import Training

DIMENSION = 8


def text_config(root: Path) -> SearchConfig:
    return SearchConfig.model_validate(
        {
            "data": {"name": "text", "root": str(root), "validation_fraction": 0.25},
            "network": {"repeats": 1, "filters": 4, "embedding": DIMENSION},
            "training": {"epochs": 2, "batch_size": 8, "word_dropout": 0.1},
            "scheduler": {"name": "fifo"},
        }
    )


def spec_for(splits: DataSplits) -> NetworkSpec:
    tokens = splits.reading.tokens
    assert tokens is not None
    length = splits.train.images.shape[1]
    small = replace(small_spec(), classes=len(splits.classes), image_channels=1, image_size=(length,))
    return replace(small, embedding=Embedding(tokens, DIMENSION))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with a network for texts, of random weights."""
    folder = tmp_path_factory.mktemp("texts")
    config = text_config(write_text_folders(folder / "data", 40))
    return make_run(folder / "run", spec_for(load_data(config.data, 0)), config=config)


@pytest.mark.parametrize("unit", ["words", "characters"])
def test_a_training_learns_texts(tmp_path: Path, unit: str) -> None:
    settings = DataSettings.model_validate(
        {"name": "text", "root": str(question_file(tmp_path / "a.csv", 120)), "unit": unit}
    )
    splits = load_data(settings, 0)
    recipe = TrainingSettings(epochs=6, batch_size=8, learning_rate=0.05)
    training = Training(replace(spec_for(splits), filters=8), recipe, DeviceData(splits, torch.device("cpu")), seed=0)
    scores = [training.train_epoch().val_accuracy for _ in range(recipe.epochs)]
    assert max(scores) > 0.8


def test_a_network_keeps_one_resolution_and_classifies_the_maximum_over_the_text(run: Path) -> None:
    splits = load_data(text_config(run.parent / "data").data, 0)
    spec = replace(spec_for(splits), skeleton=SKELETONS["text"], repeats=3, classes=5)
    tokens = torch.as_tensor(splits.train.images)[:4, :, 0].long()
    costs, network = network_costs(spec), CellNetwork(spec)
    assert costs.activation_bytes == kept_for_backward(network, tokens) / len(tokens)
    backbone = CellNetwork(spec, features_only=True)
    backbone.load_state_dict(network.state_dict(), strict=False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = network.eval()(tokens)
    (features,) = backbone.eval()(tokens)
    assert (len(network.cells), features.shape[2:]) == (3, spec.image_size)
    assert costs.macs * len(tokens) == counter.get_total_flops() / 2
    classifier = network.head[-1]
    assert isinstance(classifier, torch.nn.Linear)
    torch.testing.assert_close(logits, F.linear(features.amax(2), classifier.weight, classifier.bias))


def test_a_search_decides_on_the_cell_that_the_skeleton_uses(tmp_path: Path) -> None:
    config = text_config(tmp_path)
    for skeleton, cells in ((None, {"normal"}), ("pnasnet_cifar", {"normal", "reduction"})):
        chosen = config.model_copy(update={"network": config.network.model_copy(update={"skeleton": skeleton})})
        components = SearchComponents.of(chosen, PassedParts())
        assert {name.partition(".")[0] for name in components.distributions} == cells


def test_an_auxiliary_head_needs_a_reduction_cell(run: Path) -> None:
    spec = spec_for(load_data(text_config(run.parent / "data").data, 0))
    with pytest.raises(ValueError, match="networks of this skeleton have none; set training.auxiliary_weight = 0"):
        plan_network(replace(spec, skeleton=SKELETONS["text"], auxiliary_head=True))


@pytest.mark.parametrize("how", ["onnx", "torch-export"])
def test_files_predict_what_the_network_does(run: Path, how: str) -> None:
    result = export_network(str(run), ExportSettings(format=how))
    assert result.file.largest_difference < 1e-4
    texts = run.parent / "data"
    found = predict(str(result.folder / result.file.file), texts)
    assert found.network == WINNER
    assert found.kind == "text file"
    assert len(found.pictures) == 40
    ours = predict(run, texts)
    for one, other in zip(found.pictures, ours.pictures, strict=True):
        assert one.path == other.path
        np.testing.assert_allclose(one.values, other.values, atol=1e-5)


@pytest.mark.slow
def test_a_file_in_8_bits_takes_tokens(run: Path) -> None:
    result = export_network(str(run), ExportSettings(int8=True))
    assert result.file.largest_difference < 1
    assert len(predict(str(result.folder / result.file.file), run.parent / "data").pictures) == 40


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("executorch") is None, reason="needs cellscout[mobile]")
@pytest.mark.filterwarnings("ignore:::torch|torchao|executorch")
def test_an_executorch_file_takes_tokens(run: Path) -> None:
    assert export_network(str(run), ExportSettings(format="executorch")).file.largest_difference < 1e-4


def test_predictions_are_those_of_the_tokens(run: Path) -> None:
    path = run.parent / "one.txt"
    path.write_text("WHO went to Atlantis?")
    facts = RecordedRun.read(run).info.data
    numbers = {word: 2 + place for place, word in enumerate(facts["reading"]["vocabulary"])}
    tokens = [numbers["who"], numbers["went"], numbers["to"], 1, numbers["?"]]
    (length, _) = facts["image_shape"]
    spec = NetworkSpec.from_json(json.loads((run / "best" / "network.json").read_text()))
    network = load_network(spec, (run / "best" / "weights.safetensors").read_bytes())
    logits = network(torch.tensor([tokens + [0] * (length - len(tokens))]))
    assert isinstance(logits, torch.Tensor)
    np.testing.assert_allclose(predict(run, path).pictures[0].values, logits.softmax(1)[0], atol=1e-5)


def test_the_winner_is_retrained_with_early_stopping_and_tested_once(run: Path, cellscout: Any) -> None:
    ended = cellscout("retrain", str(run), "--early-stopping", "2", "--json")
    assert ended.status == 0, ended.err
    (network,) = json.loads(ended.out)["networks"]
    assert 0 <= network["accuracy"] <= 1
    spec = NetworkSpec.from_json(json.loads((run / "retrain" / WINNER / "network.json").read_text()))
    assert spec.embedding is not None
    assert (spec.embedding.channels, spec.embedding.dropout) == (DIMENSION, 0.1)


def test_weights_are_taken_only_from_a_run_with_the_same_vocabulary(run: Path, cellscout: Any, tmp_path: Path) -> None:
    arguments = ("retrain", str(run), "--name", "again", "--set", "training.epochs=1", "--weights")
    shutil.copytree(run, tmp_path / "other")
    facts = json.loads((run / "run.json").read_text())
    facts["data"]["reading"]["vocabulary"].reverse()
    (tmp_path / "other" / "run.json").write_text(json.dumps(facts))
    shutil.copy(run / "best" / "weights.safetensors", tmp_path / "loose.safetensors")
    for weights in (tmp_path / "other" / "best", tmp_path / "loose.safetensors"):
        check_refused(cellscout, (*arguments, str(weights)), "it is not a network of a run with the vocabulary of")
    ended = cellscout(*arguments, str(run / "best" / "weights.safetensors"))
    assert ended.status == 0, ended.err


def test_another_word_dropout_makes_no_other_network(run: Path, cellscout: Any) -> None:
    for name, dropout in (("first", 0.0), ("second", 0.3)):
        settings = ("--set", "training.epochs=1", "--set", f"training.word_dropout={dropout}")
        ended = cellscout("retrain", str(run), "--name", name, *settings)
        assert ended.status == 0, ended.err
    assert "test of this network, so its accuracy is not fresh evidence" in " ".join(ended.out.split())


def test_a_published_cell_is_retrained_on_texts(run: Path, cellscout: Any) -> None:
    arguments = ("--architecture", "pnasnet_5", "--repeats", "1", "--filters", "4", "--set", "training.epochs=1")
    ended = cellscout("retrain", str(run), *arguments)
    assert ended.status == 0, ended.err
    spec = NetworkSpec.from_json(json.loads((run / "retrain" / "pnasnet_5" / "network.json").read_text()))
    assert spec.embedding is not None
    assert spec.embedding.tokens == load_data(text_config(run.parent / "data").data, 0).reading.tokens


def test_what_does_not_apply_is_refused_in_one_line(run: Path, cellscout: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" ")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "none").mkdir()
    for arguments, message in (
        (
            ("retrain", str(run), "--baseline", "resnet18"),
            "baselines are for images, not text data",
        ),
        (
            ("retrain", str(run), "--set", "training.flip=true"),
            "training.flip is True, which means nothing for text",
        ),
        (("explain", str(run), "a.png", "-o", "a.svg"), "is a network for text data; explain draws pictures of one"),
        (("predict", str(run), str(tmp_path / "none")), "has no text file (no file with an ending such as .txt)"),
        (("predict", str(run), "no.txt"), "no.txt: there is no such file"),
        (("predict", str(run), str(tmp_path / "empty.txt")), "empty.txt has an empty text"),
        (("predict", str(run), str(tmp_path / "latin.txt")), "latin.txt is not UTF-8"),
    ):
        check_refused(cellscout, arguments, message)


def test_costs_are_counted_for_tokens(run: Path, cellscout: Any) -> None:
    spec = NetworkSpec.from_json(json.loads((run / "best" / "network.json").read_text()))
    assert spec.embedding is not None
    found = costs_report(spec, 1, latency=True)
    assert found["network"].endswith(f"2 classes, 1x{spec.image_size[0]} sequences of {spec.embedding.tokens} tokens")
    assert found["latency_seconds"] > 0
    check_longer_costs_more(cellscout, run, found)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_texts_are_searched_and_a_search_goes_on(cellscout: Any, tmp_path: Path) -> None:
    question_file(tmp_path / "a.csv", 80)
    settings = ["data.name=text", "data.root=a.csv", "network.filters=4", "training.epochs=2", "training.batch_size=8"]
    settings += ["network.embedding=8", "training.word_dropout=0.1", "scheduler.min_epochs=1", "budget.trials=2"]
    settings += ["confirmation.candidates=0", "space.name=nasnet"]
    said, spec = search_and_go_on(cellscout, settings)
    assert "left out of the space, because they do not exist for text data: conv_1x3_3x1" in said
    assert spec.embedding is not None
    assert (spec.embedding.channels, spec.embedding.dropout, spec.classes) == (8, 0.1, 2)
    ended = cellscout("evaluate", "run", "--top", "2", "--folds", "2", "--seeds", "1", "--no-baseline")
    assert ended.status == 0, ended.err
    ended = cellscout("retrain", "run", "--set", "training.epochs=2")
    assert ended.status == 0, ended.err
    ended = cellscout("export", "run")
    assert ended.status == 0, ended.err
    (tmp_path / "one.txt").write_text("Who came from Lagos?")
    ended = cellscout("predict", "run", "one.txt", "--json")
    assert ended.status == 0, ended.err
    (found,) = json.loads(ended.out)["pictures"]
    assert found["prediction"] in ("person", "place")


def test_the_page_says_texts(tmp_path: Path) -> None:
    facts = {"train": 1000, "validation": 400, "test": 300, "image_shape": [24, 1], "classes": ["low", "high"]}
    reading = {"task": "text", "unit": "words", "lower_case": True, "vocabulary": ["a", "b"]}
    text = page_of(made_up(tmp_path / "run", 8, data={**facts, "reading": reading})).text
    assert "on 400 validation texts is" in text
    assert "As the best of many scores on the same texts" in text
    assert "image" not in text
