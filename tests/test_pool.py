"""`CandidatePool` on Ray: loops that end, fail, are interrupted, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.config.search_config import OWN_LOOP
from orchestrator.errors import InputError
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.search.pool import CandidatePool
from orchestrator.search.run import resume_search, run_search
from orchestrator.study.replay import load_study
from search_spaces import NASNET_A
from tests.builders import config
from tests.killing import ROOT, TWO_CPUS, pace, started
from tests.own_ray import Head
from tests.paced_trainable import trained
from tests.records import on_record
from tests.stepping import Paced

SETTINGS: dict[str, Any] = {"space": {"blocks": 2}, "training": {"epochs": 3}, "confirmation": {"candidates": 2}}


def submit(pool: CandidatePool, count: int, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(count):
        pool.submit(pool.space.sample(generator))


def test_a_wrong_use_is_told_before_anything_starts() -> None:
    with pytest.raises(InputError, match="config is of the type dict; settings are needed, as load_config"):
        CandidatePool({"budget": {"trials": 6}})  # type: ignore[arg-type]
    pool = CandidatePool(config(**SETTINGS))
    for wrong in (NASNET_A.to_json(), json.dumps(NASNET_A.to_json())):
        with pytest.raises(InputError, match="a (dict|str) was submitted; an Architecture is needed"):
            pool.submit(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="^the pool is not open; use it as a context"):
        pool.submit(NASNET_A)


@pytest.mark.usefixtures("local_ray")
def test_a_loop_of_ones_own_is_recorded_confirmed_and_resumed(tmp_path: Path, cellscout: Any) -> None:
    with CandidatePool(config(**SETTINGS, budget={"trials": 6}), run_dir=tmp_path / "run") as pool:
        with pytest.raises(InputError, match="the normal cell has 5 blocks .* has 2 and 2"):
            pool.submit(NASNET_A)
        first = pool.submit(pool.space.sample(np.random.default_rng(9)))
        submit(pool, 3)
        again = pool.submit(first.result().architecture)
        assert {result.trial.status for result in pool.results()} <= {"completed", "pruned", "duplicate"}
        assert again.result().trial.duplicate_of == first.result().trial.trial_id == "00000"
    result = pool.search_result
    assert (result.info.state, result.state.trained, len(result.state.trials)) == ("completed", 4, 5)
    assert result.confirmation is not None
    assert (tmp_path / "run" / "best" / "weights.safetensors").exists()
    assert len(load_study(tmp_path / "run").trials) == 5
    shown = cellscout("status", str(tmp_path / "run"))
    assert f"searched by space nasnet, sampler {OWN_LOOP}, scheduler asha, trainable instant" in shown.out
    assert "per proposal" not in shown.out

    with CandidatePool.resume(tmp_path / "run") as pool:
        assert {result.trial.trial_id for result in pool.history} == {f"{number:05d}" for number in range(5)}
        submit(pool, 4, seed=1)
        assert len(list(pool.results())) == 2  # the budget is for the whole run
        assert pool.submit(pool.history[0].architecture).cancelled()
    assert (pool.search_result.state.trained, "unfinished" in pool.search_result.state.counts()) == (6, False)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_the_record_of_a_loop_and_that_of_a_search_are_not_taken_for_each_other(tmp_path: Path) -> None:
    searched = run_search(config(budget={"trials": 1}, training={"epochs": 1}), run_dir=tmp_path / "search")
    with pytest.raises(InputError, match="was searched with the sampler random, not by a CandidatePool"):
        CandidatePool.resume(searched.directory.location)
    with pytest.raises(InputError, match="sampler.name = 'own loop' is reserved for CandidatePool; name a sampler"):
        run_search(config(sampler={"name": OWN_LOOP}), run_dir=tmp_path / "other")


class Slow(Paced):
    """Takes half a second for an epoch."""

    seconds = 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_loop_that_stops_leaves_a_run_that_a_resume_completes(error: type[BaseException], tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with (  # noqa: PT012
        pytest.raises(error),
        CandidatePool(config(**SETTINGS), run_dir=tmp_path / "run", trainable=Slow) as pool,
    ):
        submit(pool, 5)
        next(pool.results())
        if error is RuntimeError:
            raise RuntimeError
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        list(pool.results())
    assert signal.getsignal(signal.SIGINT) is handler
    before = RecordedRun.read(tmp_path / "run")
    assert before.info.state == "interrupted"
    assert len(before.state().trials) == 5
    assert before.state().counts()["unfinished"] > 0
    resumed = resume_search(tmp_path / "run", trainable=Slow)
    assert resumed.info.state == "completed"
    assert "unfinished" not in resumed.state.counts()


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_loop_that_waits_for_paused_trials_gets_them(tmp_path: Path) -> None:
    promotion = {"training": {"epochs": 9}, "scheduler": {"name": "asha_promotion"}}
    settings = config(**{**SETTINGS, **promotion}, budget={"trials": 30})
    with CandidatePool(settings, run_dir=tmp_path / "run") as pool:
        for generation in range(3):
            submit(pool, 6, seed=generation)
            assert len(list(pool.results())) == 6


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_the_hours_end_a_loop(tmp_path: Path) -> None:
    settings = config(**{**SETTINGS, "confirmation": {"candidates": 0}}, budget={"trials": 1000, "hours": 4 / 3600})
    with CandidatePool(settings, run_dir=tmp_path / "run", trainable=Slow) as pool:
        submit(pool, 100)
        last = pool.submit(pool.space.sample(np.random.default_rng(1)))
        assert len(list(pool.results())) < 100
        with pytest.raises(CancelledError):
            last.result()
    assert pool.search_result.info.state == "out_of_time"


LOOP = """
import sys
import numpy as np
from cellscout import CandidatePool, load_config

folder, address = sys.argv[1:]
settings = ["space.blocks=2", "training.epochs=9", "trainable.name=tests.paced_trainable:PacedTrainable"]
with CandidatePool(load_config(None, settings), run_dir=f"{folder}/run", address=address) as pool:
    generator = np.random.default_rng(0)
    for _ in range(6):
        pool.submit(pool.space.sample(generator))
    for result in pool.results():
        pass
"""


@pytest.mark.slow
def test_a_resume_finishes_what_a_killed_loop_had_submitted(tmp_path: Path, lasting_ray: Head) -> None:
    pace(tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **TWO_CPUS, **lasting_ray.environment}
    loop = subprocess.Popen([sys.executable, "-c", LOOP, str(tmp_path), lasting_ray.address], cwd=ROOT, env=environment)
    while len(trained(tmp_path)) < 3:
        assert loop.poll() is None
        time.sleep(0.05)
    loop.kill()
    loop.wait()
    killed = RecordedRun.read(tmp_path / "run")
    assert killed.standing == "died"
    assert len(killed.state().trials) == 6
    pace(tmp_path, 0.01)
    join = ["--address", lasting_ray.address]
    resume = started(tmp_path, "resume", str(tmp_path / "run"), *join, environment=lasting_ray.environment)
    assert resume.wait() == 0, (tmp_path / "output").read_text()[-3000:]
    assert "trains what the loop had submitted" in (tmp_path / "output").read_text()
    ended = RecordedRun.read(tmp_path / "run")
    assert ended.info.state == "completed"
    assert {trial.status for trial in ended.state().trials.values()} <= {"completed", "pruned"}
    assert len(ended.state().trials) == 6
    assert len(on_record(ended.events())) == len(set(on_record(ended.events())))
