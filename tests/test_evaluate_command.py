"""Whole evaluations, from a search to the verdict, with and without kills."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import ConfigError
from orchestrator.evaluation.outcome import Outcome
from orchestrator.evaluation.run import EvaluationResult, evaluate
from orchestrator.evaluation.settings import EvaluationSettings
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.search.run import run_search
from tests.builders import config, write
from tests.killing import Drivers, Evaluating, pace, search_file, started
from tests.own_ray import Head
from tests.paced_trainable import EVALUATED, trained
from tests.records import check_ends

KILLS = 5


def outcome_of(result: EvaluationResult) -> Outcome:
    assert result.outcome is not None
    return result.outcome


@pytest.fixture(scope="module")
def ended_search(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a search that has ended; `searched` is a copy of it."""
    folder = tmp_path_factory.mktemp("ended") / "run"
    run_search(config(data={"limit": 100}), run_dir=folder)
    return folder


@pytest.fixture
def searched(ended_search: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ended_search, tmp_path / "run"))


def test_an_evaluation_trains_each_candidate_in_full_for_each_fold_of_each_seed(searched: Path) -> None:
    settings = EvaluationSettings(top=3, folds=3, seeds=2)
    result = evaluate(searched, settings)
    state = RecordedRun.read(result.directory).state()
    assert (result.state, state.outcome) == ("completed", "completed")
    assert len(state.trials) == len(outcome_of(result).candidates) * 6
    assert {(trial.status, trial.epochs) for trial in state.trials.values()} == {("completed", 9)}
    check_ends(RecordedRun.read(result.directory).events())
    random_info = (result.directory / "random").read_info()
    assert random_info.config["sampler"]["name"] == "random"
    assert random_info.config["budget"] == RunDirectory.at(searched).read_info().config["budget"]
    before = RecordedRun.read(result.directory).events()
    assert evaluate(searched, settings).outcome == result.outcome
    assert RecordedRun.read(result.directory).events() == before


def test_more_folds_than_the_rarest_class_has_images_are_refused_and_nothing_is_left(searched: Path) -> None:
    with pytest.raises(ConfigError, match=r"20 folds are more than the class '\d' has .*, (9|10) \(--folds\)"):
        evaluate(searched, EvaluationSettings(top=2, folds=20))
    assert not (searched / "evaluation").exists()


def paced_search(cellscout: Any, folder: Path, **sections: str) -> str:
    """Run a search with a search file in the folder; return its run directory."""
    pace(folder, 0.01)
    search, run = search_file(folder, **sections), str(folder / "run")
    ended = cellscout("search", str(search), "--run-dir", run)
    assert ended.status == 0, ended.err
    (folder / "trained").unlink()
    return run


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("local_ray")
def test_an_evaluation_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing(
    cellscout: Any, tmp_path: Path, lasting_ray: Head
) -> None:
    """Some kills are during the random search, the others during the trainings."""
    halving = '{ name = "asha", reduction_factor = 2 }'
    run = paced_search(cellscout, tmp_path, budget="{ trials = 8 }", scheduler=halving, sampler='{ name = "tpe" }')
    pace(tmp_path)
    evaluating = Evaluating(run, ("--top", "2", "--folds", "2", "--seeds", "2"))
    drivers = Drivers(tmp_path, evaluating, lasting_ray.environment)
    for _ in range(KILLS):
        drivers.kill("--address", lasting_ray.address)
    events = drivers.finish("--address", lasting_ray.address)
    state = RunState.replay(events)
    assert state.outcome == "completed"
    assert len(state.trials) in (8, 12)  # the best of the random search may be one of the two
    assert {(trial.status, trial.epochs) for trial in state.trials.values()} == {("completed", 9)}
    check_ends(events)
    assert sorted(evaluating.on_record()) == sorted(set(trained(tmp_path)))
    assert {name for name, _ in trained(tmp_path) if name.startswith(EVALUATED)} == {
        f"{EVALUATED}{trial_id}" for trial_id in state.trials
    }
    drivers.check_repeats(reports=2)  # one for each worker


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("local_ray")
def test_the_best_cells_for_the_digits_are_evaluated(cellscout: Any, tmp_path: Path) -> None:
    """A user's commands: a search, its evaluation, and the same evaluation again."""
    small = ["data.limit=400", "budget.trials=3", "training.epochs=4", "network.filters=4", "space.blocks=2"]
    options = [word for setting in small for word in ("--set", setting)]

    def output_of(*command: str) -> str:
        ended = cellscout(*command)
        assert ended.status == 0, ended.err
        assert "Traceback" not in ended.err
        return str(ended.out)

    output_of("search", "--run-dir", "run", *options)
    command = ["evaluate", "run", "--top", "2", "--folds", "2", "--seeds", "2"]
    shown = output_of(*command)
    assert "val_accuracy: 2-fold cross-validation with 2 seeds" in shown
    assert "verdict     " in shown
    found = json.loads(output_of(*command, "--json"))["outcome"]
    assert found == json.loads((tmp_path / "run" / "evaluation" / "evaluation.json").read_text())
    rows = pq.read_table(tmp_path / "run" / "evaluation" / "trials.parquet").to_pylist()
    for one in found["candidates"]:
        theirs = [row for row in rows if row["fingerprint"] == one["fingerprint"]]
        assert sorted((row["seed"], row["fold"], row["val_accuracy"]) for row in theirs) == [
            (score["seed"], score["fold"], score["score"]) for score in one["scores"]
        ]
        assert one["mean"] == pytest.approx(np.mean([row["val_accuracy"] for row in theirs]))
        assert len({score["score"] for score in one["scores"]}) > 1
    assert {row["epochs"] for row in rows} == {4}
    assert {path.name for path in (tmp_path / "run" / "evaluation").iterdir()} == {
        *("run.json", "events.jsonl", "trials.parquet", "epochs.parquet", "candidates.parquet", "evaluation.json"),
        *("checkpoints", "random"),
    }
    assert output_of("status", "run/evaluation").count("evaluation.json") == 1


def test_an_evaluation_continues_from_any_point_of_its_record(searched: Path) -> None:
    """The points range from before its first event to before its last, with and without a recorded random search."""
    settings = EvaluationSettings(top=2, folds=2, seeds=1)
    result = evaluate(searched, settings)
    info = result.directory.read_info().model_copy(update={"state": "running", "pid": 2**22 + 1})
    events = RecordedRun.read(result.directory).events()
    for count in (0, 1, len(events) - 1):
        result.directory.write_info(info)
        path = searched / "evaluation" / "events.jsonl"
        path.unlink()
        if count:
            write(result.directory, events[:count])
        if count == 1:
            shutil.rmtree(searched / "evaluation" / "random")
        again = evaluate(searched, settings)
        assert again.state == "completed"
        assert outcome_of(again).candidates == outcome_of(result).candidates
        check_ends(RecordedRun.read(result.directory).events())
        assert RecordedRun.read(result.directory).events()[:count] == events[:count]


@pytest.mark.slow
def test_an_evaluation_that_has_trained_nothing_begins_anew_with_other_settings(searched: Path) -> None:
    """It was stopped right after its plan. The random search serves the new plan too."""
    result = evaluate(searched, EvaluationSettings(top=2, folds=2, seeds=1))
    events = RecordedRun.read(result.directory).events()
    place = next(place for place, event in enumerate(events) if event.event == "evaluation_planned")
    random = RecordedRun.read(result.directory / "random").events()
    result.directory.write_info(result.directory.read_info().model_copy(update={"state": "interrupted"}))
    (searched / "evaluation" / "events.jsonl").unlink()
    write(result.directory, events[: place + 1])
    again = evaluate(searched, EvaluationSettings(top=3, folds=3, seeds=1))
    state = RecordedRun.read(again.directory).state()
    assert again.state == "completed"
    assert {trial.resample.folds for trial in state.trials.values() if trial.resample is not None} == {3}
    assert len(state.trials) == 3 * len(outcome_of(again).candidates)
    assert {trial.status for trial in state.trials.values()} == {"completed"}
    assert RecordedRun.read(result.directory / "random").events() == random
    with pytest.raises(ConfigError, match="--folds was 3, and is 2"):
        evaluate(searched, EvaluationSettings(top=3, folds=2, seeds=1))


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_training_that_loses_its_worker_goes_on_and_one_that_fails_leaves_its_candidate_out(
    cellscout: Any, tmp_path: Path
) -> None:
    sections = {"scheduler": '{ name = "fifo" }', "sampler": '{ name = "random" }'}
    run = paced_search(cellscout, tmp_path, budget="{ trials = 5 }", **sections)
    pace(tmp_path, 0.05)
    first, *_ = RecordedRun.read(run).state().ranking()
    others = "".join(digit for digit in "0123456789abcdef" if digit != first.fingerprint[-1])
    (tmp_path / f"fault-error-{first.fingerprint[-1]}-5").touch()
    (tmp_path / f"fault-deathonce-{others}-3").touch()
    ended = cellscout("evaluate", run, "--top", "5", "--no-baseline", "--folds", "2", "--seeds", "1")
    assert ended.status == 0, ended.err
    state = RecordedRun.read(RunDirectory.at(run) / "evaluation").state()
    assert sum(len(trial.set_back) for trial in state.trials.values()) >= 1
    for trial in state.trials.values():
        failed = trial.fingerprint[-1] == first.fingerprint[-1]
        assert trial.status == ("failed" if failed else "completed")
        assert failed or trial.epochs == 9
    assert f"{first.trial_id} is left out: 2 of its 2 trainings did not complete" in ended.out


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_ctrl_c_ends_an_evaluation_in_order_and_the_same_command_continues_it(
    cellscout: Any, tmp_path: Path, lasting_ray: Head
) -> None:
    """Stops during the random search; the tests with kills cover a stop during the trainings."""
    run = paced_search(cellscout, tmp_path, budget="{ trials = 4 }", sampler='{ name = "random" }')
    pace(tmp_path, 0.1)
    command = ["evaluate", run, "--top", "2", "--folds", "2", "--seeds", "1"]
    running = started(tmp_path, *command, "--address", lasting_ray.address, environment=lasting_ray.environment)
    while len(trained(tmp_path)) < 3:
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    assert running.wait() == 130
    said = (tmp_path / "output").read_text()
    assert "Traceback" not in said
    assert "evaluation: interrupted in its random search; the same command continues it" in said
    assert (RunDirectory.at(run) / "evaluation").read_info().state == "interrupted"
    ended = cellscout(*command)
    assert ended.status == 0, ended.err
    assert (RunDirectory.at(run) / "evaluation").read_info().state == "completed"
