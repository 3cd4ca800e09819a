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
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from orchestrator import load_study
from orchestrator.errors import RunDirectoryError
from orchestrator.record.events import RunEnded, RunResumed
from orchestrator.record.run_directory import RunDirectory
from orchestrator.study.journal import write_journal
from tests.builders import info
from tests.driving import busy, driven

NAMED = {"config": {"run": {"name": "digits"}}}


def read(journal: Path) -> list[FrozenTrial]:
    study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(journal))))
    assert study.study_name == "digits"
    return study.trials


def by_id(trials: list[FrozenTrial]) -> dict[str, Any]:
    names = ("state", "values", "params", "intermediate_values", "datetime_start", "datetime_complete")
    return {trial.user_attrs["trial_id"]: [getattr(trial, name) for name in names] for trial in trials}


def test_every_ended_trial_is_in_the_journal_as_the_study_has_it(tmp_path: Path) -> None:
    with driven(tmp_path, constraints={"macs": 150_000}) as hand:
        busy(hand, 15)
    RunDirectory.at(tmp_path).write_info(info(**NAMED, state="completed"))
    journal, count = write_journal(tmp_path, None, follow=False)
    expected = [trial for trial in load_study(tmp_path).trials if trial.state.is_finished()]
    assert count == len(expected) >= 15
    assert by_id(read(journal)) == by_id(expected)
    assert any(trial.constraints["macs"] > 0 for trial in read(journal))
    with pytest.raises(RunDirectoryError, match="study.journal exists already"):
        write_journal(tmp_path, None, follow=False)


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
    assert len(study["trials"]) == count == 6
    assert {trial["state"] for trial in study["trials"]} == {"Complete", "Pruned", "Fail"}


def test_one_trial_is_one_append(tmp_path: Path) -> None:
    with driven(tmp_path) as hand:
        busy(hand, 6)
    RunDirectory.at(tmp_path).write_info(info(**NAMED))
    journal, count = write_journal(tmp_path, tmp_path / "elsewhere.log", follow=False)
    assert len(journal.read_text().splitlines()) == 1 + count  # and the study itself


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
        while not journal.exists() or len(journal.read_text().splitlines()) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        busy(hand, 5)
        hand.log.append(RunEnded(outcome="completed"))
        follower.join(timeout=20)
    assert found[0][1] == len([trial for trial in read(journal) if trial.state != TrialState.RUNNING]) == 10


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="holds no run"):
        write_journal(tmp_path, None, follow=False)
