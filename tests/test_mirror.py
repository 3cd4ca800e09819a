"""A run's study in a journal file, as Optuna's own programs read it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.samplers import NSGAIISampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from orchestrator.errors import RunDirectoryError
from orchestrator.objectives import Direction
from orchestrator.record.events import RunEnded, RunResumed, TrialImported
from orchestrator.record.run_directory import RunDirectory
from orchestrator.study import load_study
from orchestrator.study.journal import write_journal
from tests.builders import STARTED, epoch, info, trial, write
from tests.confirmed import repeated
from tests.driving import PARAMS, TINY, busy, driven

NAMED = {"config": {"run": {"name": "digits"}}}


def read(journal: Path) -> list[FrozenTrial]:
    study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(journal))))
    assert study.study_name == "digits"
    return study.trials


def imported() -> TrialImported:
    """A result of another run."""
    architecture = TINY.decode(PARAMS)
    return TrialImported(
        trial_id="other/00003",
        params=PARAMS,
        architecture=architecture.to_json(),
        fingerprint=architecture.fingerprint,
        costs={"parameters": 1.0, "macs": 2.0, "activation_bytes": 3.0},
        latency_seconds=None,
        status="completed",
        curve=[epoch("other/00003", 1, 0.5)],
    )


def by_id(trials: list[FrozenTrial]) -> dict[str, Any]:
    names = ("state", "values", "params", "intermediate_values", "datetime_start", "datetime_complete")
    return {trial.user_attrs["trial_id"]: [getattr(trial, name) for name in names] for trial in trials}


def test_every_trial_is_in_the_journal_under_its_number_as_the_study_has_it(tmp_path: Path) -> None:
    with driven(tmp_path, constraints={"macs": 150_000}, imported=[imported()]) as hand:
        busy(hand, 15)
    RunDirectory.at(tmp_path).write_info(info(**NAMED, state="completed"))
    journal, count = write_journal(tmp_path, None, follow=False)
    first, *expected = load_study(tmp_path).trials
    assert first.user_attrs["trial_id"] == "other/00003"  # an imported result; its number is not of this run's
    found = read(journal)
    assert count == sum(trial.state.is_finished() for trial in expected) >= 15
    assert by_id(found) == by_id(expected)
    assert [trial.user_attrs["trial_id"] for trial in found] == [f"{trial.number:05d}" for trial in found]
    assert any(trial.constraints["macs"] > 0 for trial in found)
    with pytest.raises(RunDirectoryError, match="study.journal exists already"):
        write_journal(tmp_path, None, follow=False)


def test_the_study_has_its_metrics_names_and_what_it_is_of(tmp_path: Path) -> None:
    objectives: dict[str, Direction] = {"val_accuracy": "maximize", "macs": "minimize"}
    with driven(tmp_path, NSGAIISampler(population_size=4, seed=0), objectives=objectives) as hand:
        busy(hand, 12)
        notes = dict(hand.state.study_attributes)
    names = {"sampler": {"name": "nsgaii"}, "space": {"name": "nasnet"}, "scheduler": {"name": "asha"}}
    RunDirectory.at(tmp_path).write_info(info(config={**NAMED["config"], **names}, state="completed"))
    journal, _ = write_journal(tmp_path, None, follow=False)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.load_study(study_name=None, storage=storage)
    assert study.metric_names == load_study(tmp_path).metric_names == ["val_accuracy", "macs"]
    assert study.user_attrs == {"run": str(tmp_path), "sampler": "nsgaii", "space": "nasnet", "scheduler": "asha"}
    written = storage.get_study_system_attrs(storage.get_study_id_from_name("digits"))
    assert notes
    assert notes.items() <= written.items()


def test_optuna_dashboard_opens_the_journal(tmp_path: Path) -> None:
    from optuna_dashboard import wsgi

    with driven(tmp_path) as hand:
        busy(hand, 6)
    RunDirectory.at(tmp_path).write_info(info(**NAMED, state="completed"))
    journal, count = write_journal(tmp_path, None, follow=False)
    application = wsgi(JournalStorage(JournalFileBackend(str(journal))))
    request: dict[str, Any] = {"PATH_INFO": "/api/studies/0", "QUERY_STRING": "after=0"}
    setup_testing_defaults(request)
    study = json.loads(b"".join(application(request, lambda status, headers, error=None: None)))
    assert study["name"] == "digits"
    assert len(study["trials"]) == count + 2 == 8
    assert {trial["state"] for trial in study["trials"]} == {"Complete", "Pruned", "Fail", "Running"}
    assert study["objective_names"] == ["val_accuracy"]


def test_an_ended_trial_is_one_append(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        busy(hand, 6)
    RunDirectory.at(tmp_path).write_info(info(**NAMED))
    journal, count = write_journal(tmp_path, tmp_path / "elsewhere.log", follow=False)
    # The study itself, the names of its metrics and four attributes; and two trials that have not ended.
    assert len(journal.read_text().splitlines()) == 6 + count + 2


def test_a_resumed_search_is_followed_beyond_its_first_end(tmp_path: Path) -> None:
    RunDirectory.at(tmp_path).write_info(info(**NAMED, host="elsewhere"))
    with driven(tmp_path) as hand:
        busy(hand, 3)
        hand.log.append(RunEnded(outcome="interrupted"), RunResumed(slots=2))
        busy(hand, 4)
        hand.log.append(RunEnded(outcome="completed"))
    assert write_journal(tmp_path, None, follow=True)[1] == 7


def test_a_running_search_is_followed_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.study.journal.POLL_SECONDS", 0.02)
    RunDirectory.at(tmp_path).write_info(info(**NAMED, host="elsewhere"))
    found: list[Any] = []
    with driven(tmp_path) as hand:
        follower = threading.Thread(target=lambda: found.append(write_journal(tmp_path, None, follow=True)))
        follower.start()
        busy(hand, 5)
        journal = tmp_path / "study.journal"
        deadline = time.monotonic() + 20
        while not journal.exists() or len(journal.read_text().splitlines()) < 12:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        busy(hand, 5)
        hand.log.append(RunEnded(outcome="completed"))
        follower.join(timeout=20)
    trials = read(journal)
    assert found[0][1] == len([trial for trial in trials if trial.state != TrialState.RUNNING]) == 10
    # Trials that were running when they were seen first have ended as the others.
    expected = load_study(tmp_path).trials
    for name in ("number", "state", "values", "params", "intermediate_values", "user_attrs"):
        assert [getattr(trial, name) for trial in trials] == [getattr(trial, name) for trial in expected]


def test_a_trial_that_was_written_before_its_end_gets_what_was_not_written_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its epochs the later ones, and as its value the mean of its trainings, as any ended trial has it."""
    first = [STARTED, *trial("00000", [0.2, 0.6, 0.9], "running")[:5]]
    rest = [*trial("00000", [0.2, 0.6, 0.9], "completed")[5:], *repeated("00000", 1, 0.6)]
    write(tmp_path, [*first, *rest])
    RunDirectory.at(tmp_path).write_info(info(**NAMED))
    monkeypatch.setattr("orchestrator.study.journal._batches", lambda directory: iter([first, rest]))
    found = read(write_journal(tmp_path, None, follow=True)[0])
    expected = load_study(tmp_path).trials
    assert found[0].value == pytest.approx(0.75)
    for name in ("number", "state", "values", "intermediate_values", "user_attrs"):
        assert [getattr(one, name) for one in found] == [getattr(one, name) for one in expected]


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="holds no run"):
        write_journal(tmp_path, None, follow=False)
