"""One winner in every output: after an evaluation it is the evaluation's, by its trial. Without Ray."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.evaluation.candidates import EvaluatedSearch
from orchestrator.evaluation.request import request_of
from orchestrator.evaluation.settings import EvaluationSettings
from orchestrator.networks.retraining.networks import networks_of, recipe_of
from orchestrator.networks.retraining.settings import RetrainSettings
from orchestrator.record.event_log import EventLog
from orchestrator.record.events import Event, RunEnded, RunResumed, TrialEnded, TrialStarted
from orchestrator.record.exports import ExportedFile, Exports, Scores
from orchestrator.record.follow_ups import FollowUps
from orchestrator.record.lookup import find_network
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.report.page.content import content_of
from orchestrator.report.page.record import PageRecord
from orchestrator.search.recorder import Recorder
from search_spaces import Architecture
from tests.builders import at, epoch, info, trial, write
from tests.driving import plan_of
from tests.evaluated import FOLDS, SEARCH, SEEDS, around, planned, recorded, started

SAME = ["--top", "3", "--folds", str(FOLDS), "--seeds", str(len(SEEDS)), "--no-baseline"]
BEST, WINNER = "00000", "00002"
"""Of the search, and of its evaluation."""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A search of three trials, and its evaluation, whose trainings have ended and are not yet compared."""
    run = recorded(tmp_path, SEARCH)
    put(run, BEST, b"weights of the best")
    settings = EvaluationSettings(top=3, folds=FOLDS, seeds=len(SEEDS), baseline=False)
    wanted = request_of(settings, EvaluatedSearch.read(str(run)))
    (run / "evaluation").create(info(state="completed", evaluation=wanted))
    state = planned(RunState.replay(SEARCH))
    assert state.evaluation is not None
    events: list[Event] = [started(), state.evaluation]
    for number in range(18):
        trial_id = f"{number:05d}"
        events += [
            TrialStarted(trial_id=trial_id, attempt=1),
            epoch(trial_id, 1, around(0.7 + 0.1 * (number % 3), number % 3)[number // 3]),
        ]
        events.append(TrialEnded(trial_id=trial_id, status="completed"))
    write(run / "evaluation", [*events, RunEnded(outcome="completed")])
    return run


def put(run: RunDirectory, trial_id: str, weights: bytes) -> None:
    """Put a trial's network into `best/`, as the search does."""
    best = RecordedRun.read(run).state().trials[trial_id]
    spec = replace(plan_of(), checkpoints=run.checkpoints).network_spec(architecture_of(run, trial_id))
    run.write_best(best, spec.to_json(), weights, {})


def architecture_of(run: RunDirectory, trial_id: str) -> Architecture:
    return Architecture.from_json(RecordedRun.read(run).state().trials[trial_id].architecture)


def test_after_an_evaluation_every_output_names_its_winner(run: RunDirectory, cellscout: Any) -> None:
    (run.folder / "checkpoints" / WINNER).write("weights.safetensors", b"weights of the winner")
    before = json.loads(cellscout("status", str(run), "--json").out)
    assert (before["best"]["trial_id"], before["evaluation"]) == (BEST, None)
    done = cellscout("evaluate", str(run), *SAME)
    assert done.status == 0, done.err
    assert f"verdict     The winner is {WINNER}" in done.out
    assert f"best now has the winner of the evaluation, trial {WINNER}" in done.err

    assert run.best_trial_id() == WINNER
    assert run.best.read("weights.safetensors") == b"weights of the winner"
    architecture = architecture_of(run, WINNER)
    assert find_network(run.location).architecture == architecture
    search = RecordedRun.of_ended_search(run)
    settings = RetrainSettings()
    ((name, network),) = networks_of(search, settings, recipe_of(settings, search.config)).items()
    assert (name, network.to_json()["architecture"]) == (WINNER, architecture.to_json())
    relative = os.path.relpath(run.location)
    for place in (run.location, relative):
        by_number = RetrainSettings(architecture=f"{place}#{int(WINNER)}")
        assert list(networks_of(search, by_number, recipe_of(by_number, search.config))) == [WINNER]
    content = content_of(PageRecord.read(search))
    assert (content.summary.winner, content.summary.tested) == (WINNER, True)
    assert "#" not in (content.summary.retrain or "")
    for command in ("status", "report"):
        lines = cellscout(command, str(run)).out.splitlines()
        assert f"winner      trial {WINNER}, by the evaluation, in {run.best}" in lines
        assert f"in search   it had 0.7000 (trial {WINNER}, 2 epochs)" in lines
        assert any(line.startswith(f"evaluation  The winner is {WINNER}: its mean") for line in lines)
        found = json.loads(cellscout(command, str(run), "--json").out)
        assert (found["best"]["trial_id"], found["evaluation"]["winner"]) == (WINNER, WINNER)


def test_a_winner_whose_weights_were_not_kept_can_still_be_retrained(run: RunDirectory, cellscout: Any) -> None:
    done = cellscout("evaluate", str(run), *SAME)
    assert f"the weights of trial {WINNER} were not kept (run.keep_best); retrain trains it anew" in done.err
    assert (run.best_trial_id(), run.best.has("weights.safetensors")) == (WINNER, False)
    assert find_network(run.location).architecture == architecture_of(run, WINNER)
    exported = cellscout("export", str(run))
    assert exported.status == 2
    assert f"cellscout retrain {run} trains the winner" in exported.err


def test_once_the_search_goes_on_its_own_best_leads_again(run: RunDirectory, cellscout: Any) -> None:
    assert cellscout("evaluate", str(run), *SAME).status == 0
    with EventLog.reopen(run) as log:
        log.append(RunResumed(time=at(100), slots=1), *trial("00003", [0.1, 0.95], "completed", begin=100))
        log.append(RunEnded(time=at(120), outcome="completed"))
    state = RecordedRun.read(run).state()
    winner = FollowUps.read(run).winner(state)
    assert winner is not None
    assert winner.trial_id == "00003"
    assert "evaluation  of the first 3 trainings, before the search went on: The winner is 00002" in (
        cellscout("status", str(run)).out
    )


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_resume_leaves_the_evaluations_winner_in_place_until_the_search_goes_on(
    goes_on: bool, run: RunDirectory, cellscout: Any
) -> None:
    assert cellscout("evaluate", str(run), *SAME).status == 0
    state = RecordedRun.read(run).state()
    (run.folder / "checkpoints" / BEST).write("weights.safetensors", b"weights of the best")
    plan = replace(plan_of(), checkpoints=run.checkpoints)
    with EventLog.reopen(run) as log:
        recorder = Recorder(log, state=state, plan=plan, directory=run, on_failure=lambda error: None)
        if goes_on:
            for event in trial("00003", [0.1], "pruned", begin=100):
                state.apply(event)
        recorder.save_missing_best()
    assert run.best_trial_id() == (BEST if goes_on else WINNER)


def test_status_and_report_tell_of_retrainings_and_exports(run: RunDirectory, cellscout: Any) -> None:
    result = {
        "name": WINNER,
        "location": "there",
        "parameters": 10,
        "macs": 20,
        "seeds": [0, 1],
        "accuracies": {"0": 0.9, "1": 0.91},
        "epochs": 3.0,
        "train_seconds": 61.0,
        "device": "cpu",
        "latency_seconds": 0.002,
        "test_number": 2,
        "tested_at": "2026-01-02T00:00:00+00:00",
        "is_over": True,
        "accuracy": 0.905,
        "deviation": 0.0071,
    }
    run.folder.write(f"retrain/{WINNER}/result.json", json.dumps(result).encode())
    (run.folder / "retrain" / "resnet18").write("retrain.json", b"{}")
    (run.folder / "retrain" / ".ray-train-1").write("x", b"")
    scores = Scores(accuracy=0.89, latency_seconds={1: 0.001})
    file = ExportedFile(
        file="model.onnx",
        format="onnx",
        int8=False,
        pruning=None,
        size=1_250_000,
        pytorch_size=1_240_000,
        images=300,
        saw_validation=False,
        largest_difference=1e-6,
        scores=scores,
        pytorch=scores,
        accuracy_before=0.89,
        exported_at=at(0),
        host="here",
        versions={},
    )
    seen = file.model_copy(update={"file": "seen.onnx", "saw_validation": True})
    Exports().with_file(file).with_file(seen).write(run.best / "export", "model.onnx", b"...")
    for command in ("status", "report"):
        lines = cellscout(command, str(run)).out.splitlines()
        assert (
            f"retrained   {WINNER}: test accuracy 0.9050 ± 0.0071 (2 seeds; test 2 of this network, so not fresh "
            in (" ".join(line for line in lines if line.startswith("retrained")))
        )
        assert "retrained   resnet18: unfinished" in lines
        assert "exported    best/export/model.onnx: accuracy 0.8900 on 300 validation images, 1.25 MB" in lines
        assert (
            "exported    best/export/seen.onnx: accuracy 0.8900 on 300 validation images (on which the network was "
            "trained, so that this says little), 1.25 MB"
        ) in lines
    found = json.loads(cellscout("status", str(run), "--json").out)
    assert set(found["retrained"]) == {WINNER, "resnet18"}
    assert found["retrained"][WINNER]["accuracy"] == 0.905
    assert found["exported"]["best"][0]["file"] == "model.onnx"
