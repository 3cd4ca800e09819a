"""Architectures that a search tries first."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.samplers import BaseSampler, BruteForceSampler, NSGAIISampler
from optuna.trial import TrialState

from orchestrator.config.search_config import SamplerSettings
from orchestrator.errors import ConfigError
from orchestrator.record.event_log import read_events
from orchestrator.record.events import CandidatesQueued, RunResumed
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.report.changes import changes_of
from orchestrator.report.terminal import run_summary
from orchestrator.samplers import SAMPLERS
from orchestrator.samplers.history import finished_trials
from orchestrator.search.run import SearchResult, resume_search, run_search
from orchestrator.search.warm_start import queue_candidates
from search_spaces import DARTS, NASNET, PUBLISHED, Architecture, CellSpace
from tests.builders import config
from tests.driving import PARAMS, SWAPPED, Hand, driven, new
from trainables.storage import Folder

THIRD = {**PARAMS, "reduction.0.left.state": 1}
QUEUED = [SWAPPED, PARAMS, THIRD]

MAKERS: dict[str, Callable[[], BaseSampler]] = {
    **{name: lambda name=name: SAMPLERS[name](seed=1) for name in SAMPLERS},  # type: ignore[misc]
    "an object of Optuna's": BruteForceSampler,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
def test_what_is_queued_is_proposed_first_and_in_order_whatever_the_sampler(
    make: Callable[[], BaseSampler], tmp_path: Path
) -> None:
    with driven(tmp_path, make(), queued=QUEUED) as hand:
        for _ in range(6):
            new(hand)
        trials = list(hand.state.trials.values())
        assert [trial.params for trial in trials[:3]] == QUEUED
        assert all(trial.params not in QUEUED for trial in trials[3:])


@pytest.mark.parametrize("name", ["evolution", "predictor", "tpe", "nsgaii"])
@pytest.mark.parametrize("proposed", [0, 1, 2, 3, 4])
def test_a_search_that_died_at_any_of_them_goes_on_with_the_next(name: str, proposed: int, tmp_path: Path) -> None:
    def params_of(hand: Hand, count: int) -> list[dict[str, Any]]:
        while len(hand.state.trials) < count:
            hand.admit()
        return [trial.params for trial in hand.state.trials.values()]

    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    with driven(tmp_path / "whole", SAMPLERS[name](seed=1), queued=QUEUED) as hand:
        params_of(hand, proposed)
        hand.settled()  # the next one is asked ahead, and not on record
        before = list(read_events(Folder.at(tmp_path / "whole")))
        expected = params_of(hand, 6)
    with driven(tmp_path / "cut", SAMPLERS[name](seed=1), before=before) as hand:
        assert params_of(hand, 6) == expected
    assert expected[:3] == QUEUED


def test_the_sampler_learns_from_them_as_from_any_other_trial(tmp_path: Path) -> None:
    with driven(tmp_path, SAMPLERS["evolution"](seed=0, population=3, tournament=20), queued=QUEUED) as hand:
        for score in (0.1, 0.9, 0.2):
            hand.train(new(hand), [score])
        new(hand)  # it was asked for before the last result was known
        child = new(hand).params
        study = hand.settled()
        assert [trial.params for trial in finished_trials(study)] == QUEUED
    assert sum(child[name] != PARAMS[name] for name in PARAMS) == 1


def test_they_are_members_of_the_first_generation_of_nsga_ii(tmp_path: Path) -> None:
    sampler = NSGAIISampler(population_size=3, seed=0)
    with driven(tmp_path, sampler, objectives={"val_accuracy": "maximize", "macs": "minimize"}, queued=QUEUED) as hand:
        for score in (0.1, 0.9, 0.2):
            hand.train(new(hand), [score])
        population = sampler.get_population(hand.settled(), 0)
    assert [trial.params for trial in population] == QUEUED


def test_one_that_is_known_is_answered_from_the_record(tmp_path: Path) -> None:
    with driven(tmp_path, queued=[PARAMS, PARAMS, SWAPPED]) as hand:
        hand.train(new(hand), [0.5])
        second = new(hand)
        assert [trial.status for trial in hand.state.trials.values()] == ["completed", "duplicate", "running"]
        assert second.params == SWAPPED
        first, again, *_ = hand.settled().trials
        assert (again.state, again.value) == (TrialState.COMPLETE, first.value)


def test_a_parameter_that_is_not_queued_is_drawn_by_the_sampler(tmp_path: Path) -> None:
    some = {name: value for name, value in SWAPPED.items() if name.startswith("normal")}
    with driven(tmp_path, queued=[some]) as hand:
        params = new(hand).params
    assert some.items() < params.items()
    assert params.keys() == SWAPPED.keys()


def test_architectures_are_named_as_in_other_commands(tmp_path: Path) -> None:
    v1, v2 = (PUBLISHED[name].architecture for name in ("darts_v1", "darts_v2"))
    (tmp_path / "cell.json").write_text(json.dumps(v1.to_json()))
    queued = queue_candidates(SamplerSettings(start_with=["darts_v2", str(tmp_path / "cell.json")]), DARTS)
    assert [DARTS.decode(params).fingerprint for params in queued.params] == [v2.fingerprint, v1.fingerprint]


def test_a_reduction_cell_that_no_network_has_need_not_be_in_the_space() -> None:
    space = replace(DARTS, reduces=False)
    assert {name.partition(".")[0] for name in space.param_space()} == {"normal"}
    (params,) = queue_candidates(SamplerSettings(start_with=["darts_v2"]), space).params
    assert space.decode(params).normal.canonical() == PUBLISHED["darts_v2"].architecture.normal.canonical()


@pytest.mark.parametrize(
    ("name", "space", "message"),
    [
        (
            "nasnet_a",
            NASNET,
            "has 'nasnet_a', which is not in the space: the normal cell outputs [0, 2, 3, 4, 5, 6];",
        ),
        ("darts_v2", replace(DARTS, blocks=3), "the normal cell has 4 blocks and 2 inputs; space 'darts' has 3 and 2"),
        ("dart_v2", DARTS, "'dart_v2' is not a published cell, a file or a run directory; did you mean 'darts_v2'?"),
    ],
)
def test_what_is_not_in_the_space_is_refused(name: str, space: CellSpace, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        queue_candidates(SamplerSettings(start_with=[name]), space)
    assert str(raised.value).startswith("sampler.start_with")
    assert message in str(raised.value)


def test_a_refusal_is_one_line_and_leaves_nothing(cellscout: Any, tmp_path: Path) -> None:
    ended = cellscout("search", "--set", "space.name=nasnet", "--set", 'sampler.start_with=["nasnet_a"]')
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert "sampler.start_with has 'nasnet_a', which is not in the space" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_resume_goes_on_with_other_architectures_and_another_sampler(local_ray: None, tmp_path: Path) -> None:
    """On Ray, two trials at a time. What was changed is on record and shown, and a further resume keeps it."""
    run = tmp_path / "run"
    names = ["darts_v2", "darts_v1"]
    settings = config(space={"name": "darts"}, sampler={"start_with": names}, budget={"trials": 3})
    assert first_of(run_search(settings, run_dir=run), 2) == [DARTS.encode(cell(name)) for name in names]
    third, fourth = (DARTS.sample(np.random.default_rng(seed)) for seed in (1, 2))
    (tmp_path / "third.json").write_text(json.dumps(third.to_json()))
    (tmp_path / "fourth.json").write_text(json.dumps(fourth.to_json()))
    changes = [
        "sampler.name=evolution",
        "sampler.options.population=2",
        f'sampler.start_with=["darts_v2", "{tmp_path}/third.json", "{tmp_path}/fourth.json"]',
        "budget.trials=7",
    ]
    result = resume_search(run, changes)
    _, _, _, again, *later = result.state.trials.values()
    assert (again.params, again.duplicate_of) == (DARTS.encode(cell("darts_v2")), "00000")
    assert [trial.params for trial in later[:2]] == [DARTS.encode(third), DARTS.encode(fourth)]
    assert result.state.trained == 7
    kinds = [type(event) for event in RecordedRun.read(run).events()]
    assert kinds[kinds.index(RunResumed) + 1] is CandidatesQueued  # else the time away would count as search
    (change,) = result.info.changes
    assert change.settings["sampler.name"] == ("random", "evolution")
    assert change.settings["sampler.options.population"] == (None, 2)
    assert change.settings["budget.trials"] == (3, 7)
    (line,) = changes_of(result.info, result.state)
    assert line.startswith("after 3 trials: sampler.name from 'random' to 'evolution', sampler.start_with from ['dart")
    assert line.endswith("budget.trials from 3 to 7, sampler.options.population from unset to 2")
    assert f"changed     {line}" in run_summary(RecordedRun.read(run), result.state).splitlines()
    (tmp_path / "third.json").unlink()
    result = resume_search(run, ["budget.trials=8"])
    assert result.state.trained == 8
    assert result.info.component("sampler") == "random, then evolution"
    assert [list(change.settings) for change in result.info.changes[1:]] == [["budget.trials"]]


def cell(name: str) -> Architecture:
    return PUBLISHED[name].architecture


def first_of(result: SearchResult, count: int) -> list[dict[str, Any]]:
    return [trial.params for trial in result.state.trials.values()][:count]
