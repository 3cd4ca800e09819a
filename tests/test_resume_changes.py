"""What may change when a search is resumed, and what may not."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster.allotment import Allotment
from orchestrator.cluster.stopping import SearchStopper
from orchestrator.config.loading import change_config, load_config, parse_config
from orchestrator.errors import ConfigError
from orchestrator.record.event_log import read_events
from orchestrator.record.events import RunStarted
from orchestrator.record.run_directory import RunDirectory
from orchestrator.samplers import SAMPLERS
from orchestrator.samplers.history import finished_trials
from orchestrator.search.run import resume_search
from orchestrator.search.setup import RunEnvironment
from orchestrator.study.distributions import to_distributions, write_distributions
from search_spaces import NASNET, CellSpace
from tests.builders import info, write
from tests.driving import TINY, busy, driven, new, trial_facts
from tests.records import snapshot
from tests.searched import searched
from tests.stepping import PLAN
from trainables.storage import Folder

FACTS = {"sha256": "a", "image_shape": [8, 8, 1]}


def recorded(folder: Path, space: CellSpace, **sections: dict[str, Any]) -> Path:
    """Write the record of a run that has just begun."""
    directory = RunDirectory.at(folder / "run")
    directory.create(info(config=parse_config(sections, "x").model_dump(mode="json"), data=FACTS))
    distributions = write_distributions(to_distributions(space.param_space()))
    started = RunStarted(slots=1, objectives={"val_accuracy": "maximize"}, constraints={}, distributions=distributions)
    write(directory, [started])
    return folder / "run"


@pytest.mark.parametrize("setting", ["training.epochs=1", "data.limit=200", "run.seed=1", "space.blocks=3"])
def test_settings_by_which_scores_could_not_be_compared_are_refused_in_a_resume(
    setting: str, cellscout: Any, tmp_path: Path
) -> None:
    run = recorded(tmp_path, NASNET)
    before = snapshot(run)
    ended = cellscout("resume", str(run), "--set", setting)
    assert ended.status == 2
    confirmation = "confirmation.candidates, confirmation.share, confirmation.trainings"
    data = "data.download, data.max_pixels, data.root, data.vectors"
    changeable = f"budget, {confirmation}, {data}, faults, logging, resources, sampler"
    assert f"a search that goes on can change {changeable}; with another [" in ended.err
    assert snapshot(run) == before


@pytest.mark.parametrize(
    ("objectives", "settings", "message"),
    [
        ({}, ["sampler.name=tp"], "sampler.name is 'tp'; known: controller, evolution, .* did you mean 'tpe'?"),
        ({}, ["sampler=tpe"], "sampler is 'tpe'; it is a section"),
        ({}, ["sampler.options.initial=1"], "initial is 1; it must be at least 2"),
        ({}, ["sampler.name=evolution", "sampler.options.initial=9"], "unexpected keyword argument 'initial'"),
        ({}, ["sampler.name=optuna:CmaEsSampler"], "CmaEsSampler cannot handle categorical parameters"),
        (
            {"minimize": ["macs"]},
            ["sampler.name=evolution"],
            "is for one objective, and there are 2: val_accuracy",
        ),
        (
            {},
            ['sampler.start_with=["darts_v2"]'],
            "has 'darts_v2', which is not in the space: the normal cell",
        ),
    ],
)
def test_a_sampler_that_cannot_go_on_is_refused_in_one_line(
    objectives: dict[str, Any], settings: list[str], message: str, cellscout: Any, tmp_path: Path
) -> None:
    run = recorded(tmp_path, NASNET, objectives=objectives, sampler={"name": "tpe" if objectives else "predictor"})
    before = snapshot(run)
    ended = cellscout("resume", str(run), *(word for setting in settings for word in ("--set", setting)))
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert re.search(message, ended.err)
    assert snapshot(run) == before


def test_another_sampler_does_not_get_the_options_of_the_one_before() -> None:
    before = load_config(None, ["sampler.name=tpe", "sampler.options.n_startup_trials=4"]).model_dump(mode="json")
    for changes, options in (
        (["sampler.name=evolution"], {}),
        (["sampler.options.population=8", "sampler.name=evolution"], {"population": 8}),
        (["sampler.options.multivariate=true"], {"n_startup_trials": 4, "multivariate": True}),
        (["sampler.name=tpe"], {"n_startup_trials": 4}),
    ):
        assert change_config(before, changes, ["sampler"]).sampler.options == options


@pytest.mark.parametrize("name", ["evolution", "predictor", "nsgaii"])
def test_another_sampler_goes_on_with_what_was_learned(name: str, tmp_path: Path) -> None:
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
    with driven(tmp_path / "old", SAMPLERS["tpe"](seed=5)) as hand:
        busy(hand, 20)
        before = list(read_events(Folder.at(tmp_path / "old")))
        seen = [trial_facts(trial) for trial in hand.settled().trials[:-1]]
    options = {"population": 5} if name == "evolution" else {}
    with driven(tmp_path / "new", SAMPLERS[name](seed=5, **options), before=before) as hand:
        study = hand.settled()
        assert [trial_facts(trial) for trial in study.trials[:-1]] == seen
        parents = [trial.params for trial in finished_trials(study)]
        first = new(hand)
        hand.train(first, [0.5])
        new(hand)
    if name == "evolution":
        assert 1 in [sum(first.params[key] != value for key, value in parent.items()) for parent in parents]


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
        allotment=Allotment(1, 1, 1, 0.0, 1), data=None, facts=facts, plan=PLAN, stopper=SearchStopper(None)
    )
    monkeypatch.setattr("orchestrator.search.run.run_environment", lambda *_, **__: nullcontext(found))
    with pytest.raises(ConfigError, match=message):
        resume_search(run)
    assert snapshot(run) == before


@pytest.mark.parametrize("words", [("--set", "budget.trials=2"), ("--trials", "3")])
def test_a_completed_search_is_not_extended_by_what_it_has_used(words: Any, cellscout: Any, tmp_path: Path) -> None:
    run = Path(searched(tmp_path / "run", (0.5, 0.7, 0.9)))
    before = snapshot(run)
    ended = cellscout("resume", str(run), *words)
    assert ended.status == 2
    assert "3 trials of the completed search have been trained; give more than 3 to extend it" in ended.err
    assert snapshot(run) == before


def test_a_search_that_has_ended_is_not_continued_without_more_hours(cellscout: Any, tmp_path: Path) -> None:
    run = Path(searched(tmp_path / "run", (0.5, 0.7, 0.9)))
    before = snapshot(run)
    ended = cellscout("resume", str(run), "--trials", "9", "--set", "budget.hours=1e-6")
    assert ended.status == 2
    assert "budget.hours is 1e-06, and the search has taken 0." in ended.err
    assert "give more to continue it" in ended.err
    assert snapshot(run) == before
