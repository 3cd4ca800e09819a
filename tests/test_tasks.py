"""Tasks: what one says of the loss, the score and the outputs, and a task of the user's own."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from orchestrator.config.loading import parse_config
from orchestrator.errors import ConfigError
from orchestrator.networks.export.run import export_network
from orchestrator.networks.prediction import predict
from orchestrator.progress.guessing import guessing_doubt
from orchestrator.record.run_state import RunState
from orchestrator.report.score_precision import estimate_precision
from tests.builders import info, trial
from tests.documentation import ROOT
from tests.trained import make_run, small_spec
from trainables.assignment import Resample
from trainables.datasets import DataSplits, load_data
from trainables.folds import resample_splits
from trainables.image_arrays import DataError
from trainables.loader import DeviceData
from trainables.settings import DataSettings, TrainingSettings
from trainables.tasks.classes import ACCURACY
from trainables.tasks.table import find_task
from trainables.tasks.task import Task
from trainables.training import Training

EXAMPLE = ROOT / "examples" / "own_task.py"
DOTS = {"task": "own_task:COUNTING", "name": "dots", "options": {"count": 300}}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the example, as the folder of the command."""
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    sys.modules.pop("own_task", None)


def dots(**settings: Any) -> DataSplits:
    return load_data(DataSettings(**{**DOTS, **settings}), seed=0)


def test_accuracy_counts_the_most_probable_class_also_of_mixed_labels() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    assert ACCURACY.value(ACCURACY.sums(logits, torch.tensor([0, 1, 1])), 3) == pytest.approx(2 / 3)
    mixed = torch.tensor([[0.4, 0.6], [0.4, 0.6], [0.9, 0.1]])
    assert ACCURACY.value(ACCURACY.sums(logits, mixed), 3) == pytest.approx(2 / 3)
    assert ACCURACY.of_arrays(logits.numpy(), np.array([0, 0, 0])) == pytest.approx(2 / 3)


@pytest.mark.usefixtures("example")
def test_the_score_of_the_example_is_the_explained_variance() -> None:
    score = find_task("own_task:COUNTING").score
    answers = np.random.default_rng(0).normal(3, 2, (50, 1)).astype(np.float32)
    outputs = answers + np.random.default_rng(1).normal(0, 1, answers.shape).astype(np.float32)
    expected = 1 - np.mean((outputs - answers) ** 2) / np.var(answers)
    assert score.of_arrays(outputs, answers) == pytest.approx(expected, abs=1e-5)
    assert score.of_arrays(answers, answers) == 1
    assert score.of_arrays(outputs + 100, answers) == 0


@pytest.mark.usefixtures("example")
def test_numbers_are_split_without_classes() -> None:
    splits = dots(validation_fraction=0.25)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [180, 60, 60]
    assert splits.train.labels.dtype == np.float32
    facts = splits.describe()
    assert (facts["outputs"], facts["largest_class"], facts["classes"]) == ("numbers", None, ["dots"])
    assert facts["score"] == {"name": "explained variance", "is_share": False}
    assert "to predict: dots, 180 training" in splits.summary()
    resamples = [Resample(seed=1, split="fold", folds=4, fold=fold) for fold in range(4)]
    assert sum(len(resample_splits(splits, one).validation) for one in resamples) == 240
    with pytest.raises(DataError, match="241 folds are more than the 240 training and validation images"):
        resample_splits(splits, Resample(seed=1, split="fold", folds=241))


@pytest.mark.usefixtures("example")
def test_a_network_learns_the_example() -> None:
    spec = replace(small_spec(), classes=1, image_size=(24, 24))
    recipe = TrainingSettings(epochs=6, batch_size=32, learning_rate=0.02)
    training = Training(spec, recipe, DeviceData(dots(options={"count": 600}), torch.device("cpu")), seed=0)
    results = [training.train_epoch() for _ in range(recipe.epochs)]
    assert results[-1].val_accuracy > 0.2
    assert results[-1].val_loss < results[0].val_loss


@pytest.mark.usefixtures("example")
def test_numbers_are_exported_and_predicted(tmp_path: Path) -> None:
    spec = replace(small_spec(), classes=1, image_size=(24, 24))
    run = make_run(tmp_path / "run", spec, config=parse_config({"data": DOTS}, "x"))
    result = export_network(run)
    assert result.file.largest_difference < 1e-4
    picture = tmp_path / "a.png"
    Image.new("L", (24, 24)).save(picture)
    sys.modules.pop("own_task")
    sys.path.remove(str(EXAMPLE.parent))  # an exported file says all that is needed
    found = predict(result.location, picture)
    ((name, value),) = found.to_json()["pictures"][0]["values"].items()
    assert name == "dots"
    assert found.lines(3) == [f"{picture}  dots {value:.3f}"]
    assert found.table().column_names == ["path", "dots"]


def test_a_score_that_is_not_a_share_has_no_error_from_the_number_of_images() -> None:
    state = RunState()
    for event in trial("00000", [0.3], "completed"):
        state.apply(event)
    state.objectives = {"val_accuracy": "maximize"}
    best = state.trials["00000"]
    data = {"validation": 100, "largest_class": 0.9}
    share, other = info(data=data), info(data={**data, "score": {"name": "fit", "is_share": False}})
    assert estimate_precision(state, best, share) is not None
    assert estimate_precision(state, best, other) is None
    assert guessing_doubt(state, share) is not None
    assert guessing_doubt(state, other) is None
    assert (share.score_name, other.score_name) == ("accuracy", "fit")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"task": "imag"}, "data.task is 'imag'; known: image, "),
        ({"task": "own_task:COUNTING", "name": "dts"}, "data.name is 'dts'; known: dots, or 'module:NAME'; did you"),
        ({"task": "signal", "name": "digits"}, "data.name is 'digits'; known: signal, or 'module:NAME'"),
    ],
)
@pytest.mark.usefixtures("example")
def test_a_wrong_name_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"data": data}, "x")
    assert message in str(refused.value)


def test_a_record_can_be_read_without_the_module_of_its_task() -> None:
    assert parse_config({"data": {"task": "gone:TASK", "name": "dots"}}, "x").data.task == "gone:TASK"
    with pytest.raises(DataError, match="data.task is 'gone:TASK', but module 'gone' cannot be imported"):
        load_data(DataSettings(task="gone:TASK", name="dots"), seed=0)
    with pytest.raises(DataError, match="data.task is 'json:loads', but .*not a Task"):
        load_data(DataSettings(task=f"{json.__name__}:loads", name="dots"), seed=0)


def test_the_example_takes_forty_lines() -> None:
    code = EXAMPLE.read_text()
    assert len([line for line in code[code.index("\nimport ") :].splitlines() if line.strip()]) <= 40


def test_a_task_that_names_no_setting_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"unused has 'data.size'; it must be a tuple of settings such as 'data.length'"
    ):
        Task(data_sets={}, unused=("data.length", "data.size"))
    with pytest.raises(ValueError, match="unused has 'd'; it must be a tuple"):
        Task(data_sets={}, unused="data.length")  # type: ignore[arg-type]
