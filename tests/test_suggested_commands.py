"""The commands that a page suggests are accepted, whatever the run directory holds."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from orchestrator.evaluation.candidates import EvaluatedSearch
from orchestrator.evaluation.request import request_of
from orchestrator.evaluation.settings import EvaluationSettings
from orchestrator.networks.retraining.networks import networks_of, recipe_of
from orchestrator.networks.retraining.run import _asked
from orchestrator.networks.retraining.settings import RetrainSettings
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.report.page.content import content_of
from orchestrator.report.page.record import PageRecord
from orchestrator.report.page.summary import summary_of
from tests.builders import info
from tests.made_up import made_up
from tests.pages import keep_best


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """A search of 12 trials that has ended."""
    return made_up(tmp_path / "a run", 12, data={"image_shape": [8, 8, 1], "classes": ["zero", "one"], "sha256": "0"})


def suggested_retraining(directory: RunDirectory, trial_id: str) -> str:
    content = content_of(PageRecord.read(RecordedRun.of_search(directory)))
    return str(content.leaderboard.opened[trial_id]["commands"]["Retrain it"])


def begin(directory: RunDirectory, command: str, **changes: Any) -> None:
    """Record that a retraining has begun, as the command with these changes does."""
    words = shlex.split(command)[3:]
    options = dict(zip(words[::2], words[1::2], strict=True))
    size = {"repeats": int(options["--repeats"]), "filters": int(options["--filters"])}
    settings = RetrainSettings(
        architecture=options["--architecture"], name=options.get("--name"), **{**size, **changes}
    )
    search = RecordedRun.of_ended_search(directory.location)
    recipe = recipe_of(settings, search.config)
    ((name, spec),) = networks_of(search, settings, recipe).items()
    asked = _asked(search, settings=settings, recipe=recipe, spec=spec, weights=None)
    place = directory.folder / "retrain" / name
    assert not place.has("retrain.json")
    place.write("retrain.json", json.dumps({"asked": asked.model_dump(mode="json")}).encode())


@pytest.mark.parametrize("other", [{"filters": 2}, {"seeds": 2}, {"epochs": 99}, {"ema": 0.5}])
def test_a_retraining_of_a_network_that_was_retrained_otherwise_has_another_name(
    other: dict[str, Any], directory: RunDirectory
) -> None:
    keep_best(directory)
    trial_id = RecordedRun.read(directory).state().ranking()[1].trial_id
    command = suggested_retraining(directory, trial_id)
    begin(directory, command, **other)
    named = suggested_retraining(directory, trial_id)
    assert named == f"{command} --name {trial_id}-2"
    begin(directory, named)
    assert suggested_retraining(directory, trial_id) == named, "it goes on"


def test_an_evaluation_beside_another_one_has_another_directory(directory: RunDirectory) -> None:
    wanted = request_of(EvaluationSettings(top=2, folds=5), EvaluatedSearch.read(directory.location))
    others = (directory / "evaluation", directory / "evaluation-2")
    others[0].create(info(evaluation=wanted.model_copy(update={"folds": 3})))
    place = f"--evaluation-dir {shlex.quote(others[1].location)}"
    for _ in range(2):
        command = summary_of(PageRecord.read(RecordedRun.of_search(directory))).evaluate
        assert command == f"cellscout evaluate {shlex.quote(directory.location)} --top 2 --folds 5 {place}"
        others[1].create(info(evaluation=wanted))
