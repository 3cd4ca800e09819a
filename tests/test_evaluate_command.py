"""Whole evaluations, from a search to the verdict, undisturbed and killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import ConfigError
from orchestrator.evaluation.outcome import Outcome
from orchestrator.evaluation.run import EvaluationResult, evaluate
from orchestrator.evaluation.settings import EvaluationSettings
from orchestrator.run_directory import RunDirectory
from orchestrator.run_state import RunState
from orchestrator.search import run_search
from tests.killing import Drivers, Evaluating, paced, search_file, started
from tests.own_ray import ray_head
from tests.paced_trainable import EVALUATED, trained
from tests.records import check_ends
from tests.test_search import config

KILLS = 5


def outcome_of(result: EvaluationResult) -> Outcome:
    assert result.outcome is not None
    return result.outcome


@pytest.mark.usefixtures("local_ray")
def test_an_evaluation_trains_each_candidate_in_full_for_each_fold_of_each_seed(tmp_path: Path) -> None:
    run_search(config(data={"limit": 100}), run_dir=tmp_path / "run")
    settings = EvaluationSettings(top=3, folds=3, seeds=2)
    result = evaluate(tmp_path / "run", settings)
    state = result.directory.read_state()
    assert (result.state, state.outcome) == ("completed", "completed")
    assert len(state.trials) == len(outcome_of(result).candidates) * 6
    assert {(trial.status, trial.epochs) for trial in state.trials.values()} == {("completed", 9)}
    check_ends(result.directory.read_events())
    sample = (result.directory / "random").read_info()
    assert sample.config["sampler"]["name"] == "random"
    assert sample.config["budget"] == RunDirectory.at(tmp_path / "run").read_info().config["budget"]
    before = result.directory.read_events()
    assert evaluate(tmp_path / "run", settings).outcome == result.outcome
    assert result.directory.read_events() == before


@pytest.mark.usefixtures("local_ray")
def test_more_folds_than_the_rarest_class_has_images_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    run_search(config(data={"limit": 100}, budget={"trials": 3}, scheduler={"name": "fifo"}), run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"20 folds are more than the class '\d' has .*, (9|10) \(--folds\)"):
        evaluate(tmp_path / "run", EvaluationSettings(top=2, folds=20))
    assert not (tmp_path / "run" / "evaluation").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("baseline", ["--baseline", "--no-baseline"])
def test_an_evaluation_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing(
    baseline: str, tmp_path: Path
) -> None:
    """With a random search, in which some of the kills are, or all of them in the trainings."""
    search = search_file(
        tmp_path,
        budget="{ trials = 8 }",
        scheduler='{ name = "asha", reduction_factor = 2 }',
        sampler='{ name = "tpe" }',
    )
    run = tmp_path / "run"
    assert (
        started(tmp_path, "search", str(search), "--run-dir", str(run), environment=paced(tmp_path, 0.01)).wait() == 0
    )
    (tmp_path / "trained").unlink()
    environment = paced(tmp_path)
    evaluating = Evaluating(str(run), ("--top", "2", "--folds", "2", "--seeds", "2", baseline))
    with ray_head("--num-cpus=2", "--include-dashboard=false", environment=environment) as head:
        drivers = Drivers(tmp_path, evaluating, {**head.environment, **environment})
        for _ in range(KILLS):
            drivers.kill("--address", head.address)
        events = drivers.finish("--address", head.address)
    state = RunState.replay(events)
    assert state.outcome == "completed"
    assert len(state.trials) in (8, 12)  # the best of the random search may be one of the two
    assert {(trial.status, trial.epochs) for trial in state.trials.values()} == {("completed", 9)}
    check_ends(events)
    assert sorted(evaluating.on_record()) == sorted(set(trained(tmp_path)))
    assert {name for name, _ in trained(tmp_path) if name.startswith(EVALUATED)} == {
        f"{EVALUATED}{trial_id}" for trial_id in state.trials
    }
    drivers.check_repeats(reports=2)  # one of each worker


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_best_cells_for_the_digits_are_evaluated(tmp_path: Path) -> None:
    """As a user does it: a search, its evaluation, and the evaluation once more."""
    small = ["data.limit=400", "budget.trials=6", "training.epochs=4", "network.filters=4", "space.blocks=2"]
    options = [word for setting in small for word in ("--set", setting)]

    def cellscout(*command: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "orchestrator.cli", *command], capture_output=True, text=True, cwd=tmp_path
        )
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
        return ended.stdout

    cellscout("search", "--run-dir", "run", *options)
    command = ["evaluate", "run", "--top", "2", "--folds", "2", "--seeds", "2"]
    shown = cellscout(*command)
    assert "val_accuracy: 2-fold cross-validation with 2 seeds" in shown
    assert "verdict     " in shown
    found = json.loads(cellscout(*command, "--json"))["outcome"]
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
    assert cellscout("status", "run/evaluation").count("evaluation.json") == 1
