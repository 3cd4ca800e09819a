"""What may not change when a search is resumed."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster.allotment import Allotment
from orchestrator.cluster.stopping import SearchStopper
from orchestrator.config.search_config import load_config
from orchestrator.errors import ConfigError
from orchestrator.record.events import RunStarted
from orchestrator.record.run_directory import RunDirectory
from orchestrator.search.run import resume_search
from orchestrator.search.setup import RunEnvironment
from orchestrator.study.distributions import to_distributions, write_distributions
from search_spaces import NASNET, CellSpace
from tests.builders import info, write
from tests.driving import TINY
from tests.records import snapshot

FACTS = {"sha256": "a", "image_shape": [8, 8, 1]}


def recorded(folder: Path, space: CellSpace) -> Path:
    """Write the record of a run that has just begun."""
    directory = RunDirectory.at(folder / "run")
    directory.create(info(config=load_config(None).model_dump(mode="json"), data=FACTS))
    distributions = write_distributions(to_distributions(space.param_space()))
    started = RunStarted(slots=1, objectives={"val_accuracy": "maximize"}, constraints={}, distributions=distributions)
    write(directory, [started])
    return folder / "run"


@pytest.mark.parametrize("setting", ["training.epochs=1", "data.limit=200", "run.seed=1", "sampler.name=random"])
def test_settings_by_which_scores_could_not_be_compared_are_refused_in_a_resume(
    setting: str, cellscout: Any, tmp_path: Path
) -> None:
    run = recorded(tmp_path, NASNET)
    before = snapshot(run)
    ended = cellscout("resume", str(run), "--set", setting)
    assert ended.status == 2
    confirmation = "confirmation.candidates, confirmation.share, confirmation.trainings"
    changeable = f"budget, {confirmation}, data.download, data.max_pixels, data.root, faults, logging, resources"
    assert f"a search that goes on can change {changeable}; with another [" in ended.err
    assert snapshot(run) == before


@pytest.mark.parametrize(
    ("facts", "space", "message"),
    [
        ({**FACTS, "sha256": "b"}, NASNET, "'digits' has changed: its sha256 is 'b', and was 'a' when the search"),
        (FACTS, TINY, "the space 'nasnet' is not the one that the search began with: its decisions differ"),
    ],
)
def test_other_images_or_another_space_than_those_of_the_record_are_refused(
    facts: dict[str, Any], space: CellSpace, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorded(tmp_path, space)
    before = snapshot(run)
    found: Any = RunEnvironment(
        allotment=Allotment(1, 1, 1, 0.0, 1), data=None, facts=facts, stopper=SearchStopper(None)
    )
    monkeypatch.setattr("orchestrator.search.run.run_environment", lambda *_, **__: nullcontext(found))
    with pytest.raises(ConfigError, match=message):
        resume_search(run)
    assert snapshot(run) == before
