"""Tests that a study works without each part of Optuna that Optuna does not promise, and reports it once."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest
from optuna.samplers import BruteForceSampler, NSGAIISampler, TPESampler
from optuna.storages import InMemoryStorage

from orchestrator.samplers import SAMPLERS
from orchestrator.samplers.seeded import SeededSampler
from orchestrator.study import optuna_internals
from orchestrator.study.optuna_internals import StudyAttributes, call_on_stop
from orchestrator.study.replay import rebuild_study
from tests.driving import busy, driven, trial_facts
from trainables import library_internals
from trainables.library_internals import Internal

NAMES = [name for name, value in vars(optuna_internals).items() if isinstance(value, Internal)]


@pytest.fixture(autouse=True)
def _nothing_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_internals, "_reported", set())


def take_away(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    """Look for the attribute under a name that Optuna does not have, as if Optuna had renamed it."""
    internal: Internal = getattr(module, name)
    monkeypatch.setattr(module, name, replace(internal, name=f"{internal.name}_taken_away"))


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages of all warnings about libraries."""
    messages: list[str] = []
    monkeypatch.setattr(library_internals, "warn", lambda message, *about, **how: messages.append(message))
    return messages


@pytest.mark.parametrize("name", NAMES)
def test_a_study_goes_on_without_it_and_says_so_once(
    name: str, tmp_path: Path, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = NSGAIISampler(population_size=4, seed=0)  # notes its generations in the study
    take_away(monkeypatch, optuna_internals, name)
    with driven(tmp_path, sampler) as hand:
        busy(hand, 16)
        live = hand.settled()
        if name == "TRIAL_ID":
            assert hand.live._attributes.running_trial(len(live.trials) - 1).number == len(live.trials) - 1
        *seen, _ = live.trials
        rebuilt = [trial_facts(trial) for trial in rebuild_study(hand.state).trials]
        assert len(rebuilt) >= 18
        if name != "READ_TRIAL_ATTRIBUTES":
            assert rebuilt == [trial_facts(trial) for trial in seen]
    assert len(reports) == 1
    assert "_taken_away, which optuna 5.0.0 had: " in reports[0]


def test_the_attributes_of_a_study_and_of_its_trials_are_read_and_written() -> None:
    storage = InMemoryStorage()
    storage.create_new_study([optuna.study.StudyDirection.MINIMIZE])  # so that ids and numbers differ
    study = optuna.create_study(storage=storage, sampler=TPESampler(seed=0))
    attributes = StudyAttributes(study, storage)
    attributes.write("note", [1, 2])
    assert attributes.read() == {"note": [1, 2]}
    trial = study.ask()
    trial.set_constraint("macs", 0.5)
    assert attributes.read_trial(trial.number) == storage.get_trial_system_attrs(trial._trial_id)
    handle = attributes.running_trial(trial.number)
    assert (handle.number, handle._trial_id) == (trial.number, trial._trial_id)


def test_a_constraint_is_kept_where_optunas_own_trials_have_it() -> None:
    """Of a rebuilt trial and of a live one alike, so that samplers find it in both."""
    live = optuna.create_study().ask()
    live.set_constraint("macs", 0.5)
    rebuilt = optuna.trial.create_trial(value=0.0)
    rebuilt.set_constraint("macs", 0.5)
    assert rebuilt.constraints == live.constraints == {"macs": 0.5}
    assert rebuilt.system_attrs == live.study.trials[0].system_attrs


def test_a_sampler_that_stops_the_study_is_heard() -> None:
    study = optuna.create_study(sampler=BruteForceSampler())
    stops = []
    call_on_stop(study, lambda: stops.append(True))
    for _ in range(2):
        trial = study.ask({"a": optuna.distributions.CategoricalDistribution([0, 1])})
        study.tell(trial, 0.0)
    assert stops


@pytest.mark.parametrize("kind", [NSGAIISampler, TPESampler])
def test_without_the_cache_of_the_search_space_the_suggestions_are_the_same_and_it_is_said_once(
    kind: Any, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = suggestions(SeededSampler(lambda seed: kind(seed=seed), seed=1))
    take_away(monkeypatch, sys.modules[SeededSampler.__module__], "SPACE_CACHE")
    assert suggestions(SeededSampler(lambda seed: kind(seed=seed), seed=1)) == before
    assert len(reports) == 1
    assert "has no _search_space_taken_away, which optuna 5.0.0 had: a suggestion takes longer" in reports[0]


@pytest.mark.parametrize("name", ["random", "gp"])
def test_samplers_that_have_no_such_cache_are_not_reported(name: str) -> None:
    suggestions(SAMPLERS[name](seed=0), trials=3)


def suggestions(sampler: optuna.samplers.BaseSampler, trials: int = 60) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=sampler)
    space = {name: optuna.distributions.CategoricalDistribution([0, 1, 2]) for name in "abc"}
    for _ in range(trials):
        trial = study.ask(dict(space))
        study.tell(trial, float(sum(trial.params.values())))
    return [trial.params for trial in study.trials]
