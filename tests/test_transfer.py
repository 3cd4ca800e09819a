"""Trainings that start from the weights of other trainings: what is loaded, trained and refused."""

from __future__ import annotations

import json
import re
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor, nn
from torchvision import models

from orchestrator.config.search_config import SearchConfig
from orchestrator.errors import ConfigError, InputError
from orchestrator.networks.retraining.initial_weights import read_weights
from orchestrator.networks.retraining.settings import RetrainSettings
from search_spaces import NASNET_A, PUBLISHED
from tests.commands import command, told
from tests.records import facts
from tests.trained import WINNER, make_run, small_spec
from trainables.baseline_spec import BaselineSpec
from trainables.baselines import baseline_names
from trainables.build_network import build_network
from trainables.datasets import DataSplits, load_data
from trainables.network_spec import NetworkSpec
from trainables.retraining import Retraining, RetrainingPlan
from trainables.settings import DataSettings, TrainingSettings
from trainables.skeleton import SKELETONS
from trainables.transfer import InitialWeights, classifier_prefix, load_weights

CPU = torch.device("cpu")
CELLS = NetworkSpec(
    architecture=NASNET_A,
    repeats=1,
    filters=2,
    classes=10,
    image_channels=1,
    image_size=(8, 8),
    drop_path_probability=0.2,
)
SMALL_BASELINE = BaselineSpec(baseline="two_convolutions", classes=10, image_channels=1, image_size=(8, 8))


EPOCHS = 100
"""Enough epochs that a training goes on while a test reads of its first ones."""


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return load_data(DataSettings(limit=200, validation_fraction=0.3), seed=0)


def weights_of(spec: Any) -> dict[str, Tensor]:
    """Random weights and running statistics, different from those of the seeds in these tests."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        state = {name: value.clone() for name, value in build_network(spec).state_dict().items()}
        for name, value in state.items():
            if name.endswith(("running_mean", "running_var")):
                value.uniform_(0.5, 1.5)
    return state


def started(spec: Any, weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """State dicts of a network before and after loading the weights."""
    torch.manual_seed(0)
    network = build_network(spec)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_weights(network, weights)
    return before, dict(network.state_dict())


def changed(spec: Any, weights: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that were loaded; checks that all others are unchanged."""
    before, after = started(spec, weights)
    kept = {name for name in before if torch.equal(before[name], after[name])}
    taken = {name for name in before if name in weights and after[name].shape == weights[name].shape}
    taken = {name for name in taken if torch.equal(after[name], weights[name])}
    assert kept | taken == set(before)
    return taken - kept


def learned(state: dict[str, Tensor]) -> set[str]:
    """Names, except those of tensors that have the same values in every new network."""
    return {name for name, value in state.items() if value.ndim > 1 or "running" in name}


@pytest.mark.parametrize("skeleton", SKELETONS)
def test_everything_is_loaded_except_a_classifier_for_other_classes(skeleton: str) -> None:
    spec = replace(CELLS, skeleton=SKELETONS[skeleton], filters=8, image_size=(32, 32))
    weights = weights_of(spec)
    assert changed(spec, weights) >= learned(weights)
    for_others = changed(replace(spec, classes=3), weights)
    classifier = {name for name, value in weights.items() if name.startswith("head.") and value.ndim == 2}
    assert learned(weights) - for_others == classifier
    assert len(classifier) == 1


def test_the_classifier_is_found_after_a_dropout_layer() -> None:
    weights = weights_of(CELLS)
    _, after = started(replace(CELLS, dropout=0.5), weights)
    assert torch.equal(after["head.2.weight"], weights["head.1.weight"])
    assert torch.equal(after["head.2.bias"], weights["head.1.bias"])
    weights = weights_of(replace(CELLS, dropout=0.5))
    _, after = started(CELLS, weights)
    assert torch.equal(after["head.1.weight"], weights["head.2.weight"])


def test_an_auxiliary_head_is_loaded_if_it_fits_and_never_needed() -> None:
    spec = replace(CELLS, image_size=(32, 32), auxiliary_head=True)
    weights = weights_of(spec)
    auxiliary = {name for name in learned(weights) if name.startswith("auxiliary.")}
    assert auxiliary <= changed(spec, weights)
    assert len(auxiliary - changed(replace(spec, classes=3), weights)) == 1
    assert len(auxiliary - changed(replace(spec, image_size=(48, 48)), weights)) == 1
    assert not auxiliary & changed(spec, weights_of(replace(spec, auxiliary_head=False)))
    assert changed(replace(spec, auxiliary_head=False), weights) >= learned(weights) - auxiliary


@pytest.mark.parametrize(
    "name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small", "densenet121", "mnasnet0_5", "regnet_x_400mf"]
)
def test_the_classifier_of_a_baseline_is_found_under_any_name(name: str) -> None:
    spec = BaselineSpec(baseline=name, classes=10, image_channels=3, image_size=(32, 32))
    weights = weights_of(spec)
    before, after = started(replace(spec, classes=7), weights)
    other = {key for key in weights if weights[key].shape != after[key].shape}
    assert {weights[key].shape[0] for key in other} == {10}
    assert all(torch.equal(after[key], before[key]) for key in other)
    assert all(torch.equal(after[key], weights[key]) for key in after if key not in other)


@pytest.fixture
def _weights_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build networks without values: drawing them takes many seconds for the largest networks."""
    register = nn.Module.register_parameter

    def without_values(module: nn.Module, name: str, weight: nn.Parameter | None) -> None:
        register(module, name, None if weight is None else nn.Parameter(weight.to("meta")))

    monkeypatch.setattr(nn.Module, "register_parameter", without_values)


@pytest.mark.slow
@pytest.mark.usefixtures("_weights_without_values")
@pytest.mark.parametrize("name", baseline_names())
def test_the_classifier_of_every_baseline_is_found(name: str) -> None:
    network = build_network(BaselineSpec(baseline=name, classes=17, image_channels=3, image_size=(32, 32)))
    prefix = classifier_prefix(network)
    assert prefix is not None
    found = [value for key, value in network.state_dict().items() if key.startswith(prefix)]
    assert 1 <= len(found) <= 2
    assert {len(value) for value in found} == {17}


def test_torchvisions_own_weights_fit_with_a_prefix() -> None:
    theirs = models.resnet18(weights=None).state_dict()
    spec = BaselineSpec(baseline="resnet18", classes=10, image_channels=3, image_size=(32, 32))
    weights = {f"model.{name}": value for name, value in theirs.items()}
    _, after = started(spec, weights)
    assert all(torch.equal(after[name], weights[name]) for name in after if not name.startswith("model.fc."))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filters": 4}, r"stem.0.0.weight has shape \(12, 1, 3, 3\), but needs \(6, 1, 3, 3\)"),
        ({"repeats": 2}, "cells.1.* has shape|they lack cells.1"),
        ({"image_channels": 3}, r"stem.0.0.weight has shape \(6, 3, 3, 3\), but needs"),
        ({"architecture": PUBLISHED["darts_v2"].architecture}, "another architecture: "),
    ],
)
def test_weights_of_another_architecture_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_weights(build_network(CELLS), weights_of(replace(CELLS, **change)))


def test_extra_tensors_missing_tensors_and_malformed_bytes_are_refused() -> None:
    weights = weights_of(CELLS)
    network = build_network(CELLS)
    with pytest.raises(ValueError, match="another architecture: this one has no cells.99.weight"):
        load_weights(network, {**weights, "cells.99.weight": torch.zeros(1)})
    fewer = {name: value for name, value in weights.items() if name != "stem.0.1.running_var"}
    with pytest.raises(ValueError, match="another architecture: they lack stem.0.1.running_var"):
        load_weights(network, fewer)
    with pytest.raises(ValueError, match="not in the safetensors format"):
        InitialWeights(b"nothing").prepare(network)


def plan(
    spec: Any, start: InitialWeights, decay: float = 0.0, patience: int | None = None, **training: Any
) -> RetrainingPlan:
    settings = TrainingSettings(**{"epochs": 4, "batch_size": 32, "learning_rate": 0.01, **training})
    return RetrainingPlan(spec=spec, training=settings, patience=patience, average_decay=decay, start=start)


@pytest.mark.parametrize("spec", [CELLS, SMALL_BASELINE], ids=["cells", "baseline"])
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_frozen_features_stay_identical_and_the_classifier_learns(spec: Any, decay: float, splits: DataSplits) -> None:
    weights = weights_of(replace(spec, classes=4))
    wanted = plan(spec, InitialWeights(save(weights), freeze=True), decay, epochs=8, learning_rate=0.05)
    run = Retraining(wanted, wanted.images(splits), seed=0, device=CPU)
    while not run.is_over:
        run.train_epoch()
    assert run.curve[-1].train_loss < run.curve[0].train_loss
    found = load(run.weights())
    changed = {name for name in found if name not in weights or not torch.equal(found[name], weights[name])}
    assert {len(found[name]) for name in changed} == {10}
    assert {name.rpartition(".")[0] for name in changed} == {"head.1" if spec is CELLS else "model.9"}


def test_fine_tuning_starts_from_the_weights_and_changes_all_of_them(splits: DataSplits) -> None:
    weights = weights_of(CELLS)
    first = plan(CELLS, InitialWeights(save(weights)))
    run = Retraining(first, first.images(splits), seed=0, device=CPU)
    assert all(torch.equal(value, weights[name]) for name, value in load(run.weights()).items())
    while not run.is_over:
        run.train_epoch()
    again = plan(CELLS, InitialWeights(run.weights()), patience=9)
    second = Retraining(again, again.images(splits), seed=1, device=CPU)
    assert second.weights() == run.weights()
    assert second.train_epoch().train_loss < run.curve[0].train_loss
    before, after = load(run.weights()), load(second.weights())
    assert not any(torch.equal(before[name], after[name]) for name in before if before[name].ndim > 1)


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize(("patience", "decay"), [pytest.param(None, 0.0, marks=pytest.mark.slow), (2, 0.9)])
def test_a_resumed_training_from_weights_is_identical(
    freeze: bool, patience: int | None, decay: float, splits: DataSplits
) -> None:
    wanted = plan(
        CELLS, InitialWeights(save(weights_of(replace(CELLS, classes=4))), freeze), decay, patience, crop_padding=1
    )
    images = wanted.images(splits)
    whole, before = (Retraining(wanted, images, seed=3, device=CPU) for _ in range(2))
    for _ in range(3):
        whole.train_epoch()
    before.train_epoch()
    after = Retraining(wanted, images, seed=3, device=CPU)
    after.load_state(before.state(), before.curve)
    for _ in range(2):
        after.train_epoch()
    assert [facts(result) for result in after.curve] == [facts(result) for result in whole.curve]
    assert after.weights() == whole.weights()


def test_weights_are_named_by_a_file_or_folder_and_baselines_by_name(tmp_path: Path) -> None:
    (tmp_path / "trained=well").mkdir()
    (tmp_path / "trained=well" / "weights.safetensors").write_bytes(b"cells")
    (tmp_path / "other.safetensors").write_bytes(b"baseline")
    words = [str(tmp_path / "trained=well"), f"resnet18={tmp_path / 'other.safetensors'}"]
    for given in (words, words[::-1]):
        found = read_weights(RetrainSettings(weights=given, freeze=True), ["best", "resnet18"])
        assert {name: one.content for name, one in found.items()} == {"best": b"cells", "resnet18": b"baseline"}
    assert read_weights(RetrainSettings(), ["best"]) == {}
    named = read_weights(RetrainSettings(weights=words, name="mine"), ["mine", "mine-resnet18"])
    assert {name: one.content for name, one in named.items()} == {"mine": b"cells", "mine-resnet18": b"baseline"}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (["absent.safetensors"], "--weights absent.safetensors: there is no such file or folder"),
        (["empty"], "--weights empty has no weights.safetensors and is not a readable file"),
        (["w.safetensors", "w.safetensors"], "--weights is given twice for best"),
        (["w.safetensors"], "--freeze: resnet18 has no weights"),
        (["resnet18=w.safetensors"], "--freeze: best has no weights"),
        (["s3://key:secret@bucket/w.safetensors"], "a s3:// URI with a secret in it"),
    ],
)
def test_unreadable_weights_are_refused_in_one_line(
    weights: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("w.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=message) as refused:
        read_weights(RetrainSettings(weights=weights, freeze=True), ["best", "resnet18"])
    assert "\n" not in str(refused.value)


def test_freezing_random_features_is_refused() -> None:
    with pytest.raises(ConfigError, match="--freeze needs --weights"):
        RetrainSettings(freeze=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_network_is_transferred_between_data_sets(tmp_path: Path, cellscout: Any) -> None:
    """From the digits 0 to 4 to the digits 5 to 9: fine-tuned, frozen, stopped and resumed, and refused."""
    images, labels = (load_data(DataSettings(), seed=0).train.images, load_data(DataSettings(), seed=0).train.labels)
    for name, chosen in (("first", labels < 5), ("second", labels >= 5)):
        np.savez(tmp_path / f"{name}.npz", images=images[chosen], labels=labels[chosen] - labels[chosen].min())
        data = {"name": "npz", "root": f"{name}.npz", "limit": 200}
        config = SearchConfig.model_validate({"data": data, "training": {"epochs": 2}})
        make_run(tmp_path / name, replace(small_spec(), classes=5), config=config)
    assert told(cellscout("retrain", "first", "--set", "training.epochs=5"))[0] == 0

    trained = f"first/retrain/{WINNER}"
    same = ["retrain", "second", "--architecture", f"{trained}/network.json", "--weights", trained]
    few = ["--set", "training.epochs=2", "--json"]
    status, out, err = told(cellscout(*same, "--freeze", "--name", "frozen", *few))
    assert status == 0, err
    (frozen,) = json.loads(out)["networks"]
    assert (frozen["freeze"], len(frozen["weights"])) == (True, 64)
    before = load_file(tmp_path / trained / "weights.safetensors")
    after = load_file(tmp_path / "second" / "retrain" / "frozen" / "weights.safetensors")
    assert {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])} == {"head"}

    status, _, err = told(cellscout(*same, "--name", "frozen", *few))
    assert (status, err.count("\n")) == (2, 1)
    assert "freeze was True, and is False; choose another --name" in err
    status, _, err = told(cellscout("retrain", "second", "--architecture", "pnasnet_5", "--weights", trained))
    assert (status, err.count("\n")) == (2, 1)
    assert "weights of another architecture: " in err
    assert not (tmp_path / "second" / "retrain" / "pnasnet_5").exists()

    long = ["--set", f"training.epochs={EPOCHS}"]
    shown = told(cellscout(*same, "--name", "whole", *long))[1]
    assert re.sub(r"\s", "", f"started from weights {frozen['weights'][:12]}") in re.sub(r"\s", "", shown)
    # Ctrl-C leaves a checkpoint of the last epoch, a kill one of seconds before: perhaps none.
    stopped, begun = command(tmp_path, *same, "--name", "stopped", *long), time.monotonic()
    place = tmp_path / "second" / "retrain"
    log = place / "stopped" / "events.jsonl"
    while not log.exists() or log.read_bytes().count(b"epoch_trained") < 10:
        assert stopped.poll() is None
        assert time.monotonic() - begun < 120
        time.sleep(0.02)
    stopped.send_signal(signal.SIGINT)
    stopped.communicate()
    assert stopped.returncode == 130
    status, _, err = told(cellscout(*same, "--name", "stopped", *long))
    assert status == 0
    assert "going on after epoch" in err
    assert (place / "stopped" / "weights.safetensors").read_bytes() == (
        place / "whole" / "weights.safetensors"
    ).read_bytes()
    save_file({"x": torch.zeros(1)}, tmp_path / trained / "weights.safetensors")
    status, _, err = told(cellscout(*same, "--name", "stopped", *long))
    assert status == 2
    assert "weights was " in err
