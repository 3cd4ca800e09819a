"""`cellscout simulate`: searches against recorded curves, and records that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.config.loading import load_config
from orchestrator.record.events import Event, TrialSuggested
from orchestrator.record.run_directory import RunDirectory
from orchestrator.simulation import processes
from orchestrator.simulation.recorded_curves import RecordedCurves
from search_spaces import NASNET
from tests.builders import RUN, info, trial, write

TABLE = str(Path(__file__).parent.parent / "benchmarks" / "curves" / "trials.parquet")
QUICK = ["--seeds", "2", "--trainings", "3"]


def record(folder: Path, candidates: int, epochs: int = 3, **values: Any) -> str:
    """A run of NASNet cells, of which the last is the best."""
    generator, events = np.random.default_rng(0), [RUN[0]]
    for number in range(candidates):
        architecture = NASNET.sample(generator)
        mine: list[Event] = trial(f"{number:05d}", [*[0.1] * (epochs - 1), 0.01 * number], "completed")
        assert isinstance(mine[0], TrialSuggested)
        mine[0] = mine[0].model_copy(
            update={
                "params": NASNET.encode(architecture),
                "architecture": architecture.to_json(),
                "fingerprint": architecture.fingerprint,
            }
        )
        events += mine
    config = load_config(None, ["space.name=nasnet", f"space.blocks={NASNET.blocks}", f"training.epochs={epochs}"])
    directory = RunDirectory.at(folder / "run")
    directory.create(info(**{"state": "completed", "config": config.model_dump(mode="json"), **values}))
    write(directory, events)
    return directory.location


@pytest.fixture(autouse=True)
def _one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without processes of their own, whose start takes longer than these simulations."""
    monkeypatch.setattr(processes, "usable_cpus", lambda: 1)


def test_who_trains_every_candidate_in_full_finds_the_best(cellscout: Any, tmp_path: Path) -> None:
    options = ["--sampler", "random", "--scheduler", "fifo", "--workers", "2", "--seeds", "2", "--trainings", "12"]
    ended = cellscout("simulate", record(tmp_path, 12), *options, "--json")
    assert ended.status == 0, ended.err
    assert cellscout("simulate", str(tmp_path / "run"), *options, "--json").out == ended.out
    found = json.loads(ended.out)
    (one,) = found["simulated"]  # what is asked for is what the others are compared to
    assert (found["candidates"], found["epochs"], found["moments"]) == (12, 3, [0.1, 0.25, 0.5, 1.0])
    assert one["trials"] == one["completed"] == [12, 12]
    assert one["busy"] == [1.0, 1.0]
    assert [seed[-1] for seed in one["regrets"]] == [0.0, 0.0]
    assert all(seed[0] == pytest.approx(0.11) for seed in one["regrets"])  # nothing had been reported: the worst
    assert all(0 < seconds <= one["seconds"] for seconds in one["reached"])
    assert found["advice"][0]["sentence"] == ("On 2 workers nothing was compared with random search without stopping.")


def test_setups_with_their_settings_are_compared_in_80_columns(cellscout: Any, tmp_path: Path) -> None:
    schedulers = ["--scheduler", "asha min_epochs=3,9 reduction_factor=10"]
    options = [*schedulers, "--sampler", "random", "--workers", "2,4", *QUICK, "--trainings", "5"]
    ended = cellscout("simulate", record(tmp_path, 12, epochs=10), *options, "--plot", "regret.svg")
    assert ended.status == 0, ended.err
    assert ended.out.count("random with fifo") == 2  # without being asked for
    assert ended.out.count("reduction_factor=10") >= 4
    assert "12 candidates, trained in full (10 epochs)" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "…" not in ended.out
    assert ended.out.count("the data cannot tell") == 2  # with two seeds
    assert (tmp_path / "regret.svg").read_text().count("random with asha min_epochs=3 reduction_factor=10") == 2


def test_a_candidate_answers_for_itself_and_once() -> None:
    curves = RecordedCurves.read(TABLE)
    domains = curves.space.param_space()
    params = {name: domains[name].categories[code] for name, code in zip(domains, curves.codes[7], strict=True)}
    answer = curves.answers(seed=0)
    assert answer(params) is curves.curves[7]
    assert answer(params) is not curves.curves[7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sampler", "randon"], "did you mean 'random'"),
        (["--sampler", "optuna:CmaEsSampler"], "sampler"),
        (["--scheduler", "asa"], "scheduler.name is 'asa'"),
        (["--sampler", ","], "--sampler names nothing"),
        (["--workers", "0"], "--workers is 0; it must be at least 1"),
        (["--workers", "two"], "--workers is 'two'; it must be whole numbers"),
        (["--scheduler", "asha min_epochs"], "'min_epochs' is not of the form KEY=VALUE,..."),
        (["--scheduler", "asha min_epochs=1,0"], "scheduler.min_epochs is 0; it must be at least 1"),
        (["--scheduler", "asha min_epochs=28"], "scheduler.min_epochs is 28; it must be at most"),
        (["--scheduler", "asha brackts=2"], "brackts"),
        (["--target", "0"], "--target is 0"),
        (["--target", "99"], "target is 99 percentage points, and all candidates are within"),
        (["--plot", "regret.html"], "a picture can be"),
        (["--seeds", "0"], "--seeds is 0; it must be at least 1"),
        (["--space", "pnasnet"], "not of the space 'pnasnet'"),
        (["--space", "nasnat"], "did you mean 'nasnet'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(cellscout: Any, options: list[str], message: str) -> None:
    ended = cellscout("simulate", TABLE, *QUICK, *options)
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert message in ended.err


def test_a_record_that_is_none_or_too_small_is_refused(cellscout: Any, tmp_path: Path) -> None:
    for name in ("nowhere", "nowhere.parquet"):
        ended = cellscout("simulate", name)
        assert (ended.status, ended.err.count("\n")) == (2, 1)
        assert "nowhere" in ended.err
    small = record(tmp_path, 9)
    ended = cellscout("simulate", small)
    assert ended.status == 2
    assert "has 9 candidates trained in full; at least 10 are needed" in ended.err
    ended = cellscout("simulate", small, "--space", "nasnet")
    assert ended.status == 2
    assert "--space is for tables" in ended.err
