"""Faults: trials that lose their worker, and searches that lose their driver."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError

from orchestrator.errors import SearchError
from orchestrator.record.event_log import read_events
from orchestrator.record.events import TrialEnded, TrialSetBack, now
from orchestrator.record.recorded_run import RecordedRun
from orchestrator.record.run_directory import RunDirectory
from orchestrator.record.run_state import RunState
from orchestrator.record.trial import Trial
from orchestrator.search.faults import MAX_NODE_DEATHS, MAX_WORKER_DEATHS, Fault, decide, fault_of
from orchestrator.search.recorder import Recorder
from tests.builders import RUN
from tests.driving import TINY, Hand, driven, plan_of
from tests.faking import Clock
from tests.killing import EPOCH_SECONDS, Drivers, Searching, pace, search_file
from tests.own_ray import Head
from tests.paced_trainable import trained
from tests.records import check_ends, check_promotions, check_stops, on_record, seen
from trainables.assignment import Assignment
from trainables.faults import CandidateFault
from trainables.hang import end_process_after, hang_limit
from trainables.instant_trainable import made_up_result
from trainables.settings import FaultSettings
from trainables.storage import Folder

KILLS = 7
KILLS_OF_MANY = 3


def trial() -> Trial:
    state = RunState.replay(RUN[:2])
    return next(iter(state.trials.values()))


def decided(fault: Fault, of: Trial | None = None, gpus: float = 0.0, batch_size: int = 128) -> Any:
    return decide(of or trial(), fault, gpus_per_trial=gpus, batch_size=batch_size)


def test_out_of_memory_is_retried_with_smaller_batches_and_then_with_a_larger_share() -> None:
    out, candidate = Fault("out_of_memory", "CUDA out of memory"), trial()
    assert decided(out, batch_size=5).micro_batches == 2
    assert decided(out, batch_size=3).status == "failed"
    smaller = decided(out, candidate, gpus=0.25)
    assert (smaller.micro_batches, smaller.gpus) == (4, None)
    candidate.micro_batches = 4
    larger = decided(out, candidate, gpus=0.25)
    assert (larger.micro_batches, larger.gpus) == (4, 0.5)
    assert decided(out, candidate, gpus=1.0).status == "failed"
    candidate.gpus = 0.5
    assert decided(out, candidate, gpus=0.25).status == "failed"
    assert decided(out, candidate, gpus=0.5).gpus == 1.0  # a resume has given all trials what it alone had
    assert decided(out, candidate, gpus=0.25).error == (
        "CUDA out of memory (resources.gpus_per_trial or training.batch_size)"
    )


def test_a_worker_that_dies_costs_its_trial_nothing_until_it_dies_again_and_again() -> None:
    died, candidate = Fault("worker_died", "its worker died: SIGSEGV"), trial()
    for deaths in range(MAX_WORKER_DEATHS):
        candidate.setbacks_in_a_row["worker_died"] = deaths
        last = decided(died, candidate)
        assert isinstance(last, TrialEnded if deaths == MAX_WORKER_DEATHS - 1 else TrialSetBack)
    assert last.error.startswith("its worker died 3 times without an epoch in between")


def test_nodes_that_die_cost_a_trial_nothing_up_to_a_higher_limit() -> None:
    died, candidate = Fault("node_died", "its node died"), trial()
    for _ in range(MAX_NODE_DEATHS - 1):
        back = decided(died, candidate)
        assert back.cause == "node_died"
        candidate.setbacks_in_a_row[back.cause] += 1
    assert decided(Fault("worker_died", "SIGSEGV"), candidate).cause == "worker_died"
    assert decided(died, candidate).error.startswith("its node died 10 times without an epoch in between")
    assert decided(Fault("preempted", "its node is about to be removed"), candidate).cause == "preempted"


@pytest.mark.parametrize(
    ("error", "silent", "kind"),
    [
        (CandidateFault("storage", "no space"), 0.0, "storage"),
        (RuntimeError("shapes"), 0.0, "error"),
        (ActorDiedError(), 1.0, "worker_died"),
        (ActorDiedError(), 60.0, "hang"),
        (RayActorError(error_msg="The actor died because its node has died. Node Id: 4f"), 60.0, "node_died"),
        (ActorUnavailableError("RpcError", None), 60.0, "node_died"),
        (RayActorError(error_msg="its node has died", preempted=True), 1.0, "preempted"),
        (RayActorError(error_msg="The actor died: the node was running low on memory"), 1.0, "out_of_memory"),
    ],
)
def test_exceptions_of_ray_become_faults(error: Exception, silent: float, kind: str) -> None:
    assert fault_of(error, silent, hang_limit=30.0).kind == kind


def test_a_limit_of_any_length_may_be_set() -> None:
    limit = hang_limit(FaultSettings(hang_seconds=1e10, hang_factor=1e300), longest=1e300)
    for seconds in (1e10, limit):
        with end_process_after(seconds):
            pass


def test_a_checkpoint_that_the_storage_refuses_ends_the_search_and_not_the_trial(tmp_path: Path) -> None:
    failures: list[Exception] = []
    with driven(tmp_path) as hand:
        begun = hand.admit()
        assert begun is not None
        recorder = Recorder(
            hand.log,
            state=hand.state,
            plan=plan_of(TINY),
            directory=RunDirectory.at(tmp_path),
            on_failure=failures.append,
        )
        recorder.identify("of Ray", begun.trial_id)
        config = Assignment(trial_id=begun.trial_id).to_config(begun.params)
        on_ray: Any = SimpleNamespace(
            trial_id="of Ray", config=config, failure=CandidateFault("storage", "a checkpoint cannot be written")
        )
        recorder.on_trial_start(0, [], on_ray)
        with pytest.raises(SearchError, match=r"a checkpoint cannot be written \(run.storage\)") as raised:
            recorder.on_trial_error(0, [], on_ray)
    assert failures == [raised.value]
    assert RunState.replay(read_events(Folder.at(tmp_path))).trials[begun.trial_id].status == "running"


def recorder_of(hand: Hand, folder: Path) -> Recorder:
    return Recorder(
        hand.log, state=hand.state, plan=plan_of(TINY), directory=RunDirectory.at(folder), on_failure=lambda _: None
    )


@pytest.mark.parametrize("waits", ["paused", "set back"])
def test_a_trial_that_waited_long_for_a_worker_did_not_hang(
    waits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("orchestrator.search.recorder.time", clock)
    with driven(tmp_path) as hand:
        begun = hand.admit()
        assert begun is not None
        recorder = recorder_of(hand, tmp_path)
        config = Assignment(trial_id=begun.trial_id).to_config(begun.params)
        on_ray: Any = SimpleNamespace(trial_id="of Ray", config=config, failure=ActorDiedError())
        recorder.identify("of Ray", begun.trial_id)
        recorder.on_trial_start(0, [], on_ray)
        if waits == "paused":
            recorder.on_trial_save(0, [], on_ray)
        else:
            recorder.on_trial_error(0, [], on_ray)
            recorder.identify("of Ray", begun.trial_id)
        clock.now = 1e6
        recorder.on_trial_error(0, [], on_ray)  # its next worker dies before it is ready
        assert {event.cause for event in begun.set_back} == {"worker_died"}
        assert begun.status == "running"


def test_a_clock_that_is_ahead_on_a_worker_uses_up_none_of_the_searchs_time(tmp_path: Path) -> None:
    hours = 3600.0
    with driven(tmp_path) as hand:
        begun = hand.admit()
        assert begun is not None
        recorder = recorder_of(hand, tmp_path)
        recorder.identify("of Ray", begun.trial_id)
        on_ray: Any = SimpleNamespace(trial_id="of Ray")
        recorder.on_trial_start(0, [], on_ray)
        row = asdict(made_up_result(0.5, 1))
        for ahead in (-hours, hours):
            told_at: dict[str, Any] = {"ended_at": time.time() + ahead, "epoch": 1 + (ahead > 0)}
            result = {"hostname": "there", "facts": {"device": "cpu"}, "curve": [{**row, **told_at}]}
            recorder.on_trial_result(0, [], on_ray, result)
    early, late = hand.state.trials[begun.trial_id].curve
    assert late.time <= now() < late.time + timedelta(minutes=10)
    assert late.time - early.time > timedelta(minutes=50)
    assert hand.state.active_seconds() < 600


@pytest.mark.parametrize(
    ("message", "shown"),
    [("no file b\udcffd.png", r"no file b\xffd.png"), ("half \ud83d of a pair", r"half \ud83d of a pair")],
)
def test_a_message_that_is_not_utf_8_can_be_recorded(message: str, shown: str) -> None:
    fault = fault_of(RuntimeError(message), 1.0, hang_limit=30.0)
    assert fault == Fault("error", f"RuntimeError: {shown}")
    ended = decided(fault)
    assert TrialEnded.model_validate_json(ended.model_dump_json()) == ended


def test_an_error_of_a_worker_that_cannot_begin_is_not_the_workers_death() -> None:
    error = RayActorError(
        error_msg="The actor died because of an error raised in its creation task, ray::Inner.__init__() (pid=7)\n"
        "RuntimeError: The actor with name Inner failed to import on the worker.\n"
        "ModuleNotFoundError: No module named 'my_trainable'",
        actor_init_failed=True,
    )
    reason = "it could not begin: ModuleNotFoundError: No module named 'my_trainable'"
    assert fault_of(error, 1.0, hang_limit=30.0) == Fault("error", reason)


def test_a_worker_that_cannot_begin_because_of_ray_is_started_again() -> None:
    error = RayActorError(
        error_msg="The actor died because of an error raised in its creation task, ray::Inner.__init__() (pid=7)\n"
        "ray.exceptions.ObjectLostError: Failed to retrieve object 00ff",
        actor_init_failed=True,
    )
    assert fault_of(error, 1.0, hang_limit=30.0).kind == "worker_died"


def searched(cellscout: Any, folder: Path, *settings: str) -> tuple[RunState, Any]:
    """Run a search with the command; return its state, and how the command ended."""
    pace(folder, 0.06)
    small = ["data.limit=200", "space.blocks=2", "training.epochs=3", "sampler.name=random", "scheduler.name=fifo"]
    small.append("confirmation.candidates=0")
    changes = [*small, "trainable.name=tests.paced_trainable:PacedTrainable", *settings]
    options = [word for change in changes for word in ("--set", change)]
    ended = cellscout("search", "--run-dir", str(folder / "run"), *options)
    return RecordedRun.read(folder / "run").state(), ended


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_each_fault_ends_or_sets_back_its_own_trial_alone(cellscout: Any, tmp_path: Path) -> None:
    # So that each fault comes once or twice with this seed: each lost worker takes seconds to replace.
    digits = {"error": "04", "memory": "67", "memoryalways": "8", "death": "a"}
    for fault, last in digits.items():
        (tmp_path / f"fault-{fault}-{last}-2").touch()
    state, _ = searched(cellscout, tmp_path, "budget.trials=12")
    assert len(state.trials) == 12
    kinds = set()
    for found in state.trials.values():
        kind = next((fault for fault, last in digits.items() if found.fingerprint[-1] in last), "none")
        kinds.add(kind)
        causes = [event.cause for event in found.set_back]
        match kind:
            case "error":
                assert (found.status, found.attempt, causes) == ("failed", 1, [])
                assert found.error == "RuntimeError: mat1 and mat2 shapes cannot be multiplied"
            case "memory":
                assert (found.status, found.attempt, causes) == ("completed", 2, ["out_of_memory"])
                assert found.micro_batches == 4
            case "memoryalways":
                assert (found.status, found.attempt, causes) == ("failed", 2, ["out_of_memory"])
            case "death":
                assert (found.status, found.attempt) == ("failed", MAX_WORKER_DEATHS)
                assert str(found.error).startswith("its worker died 3 times without an epoch in between")
            case "none":
                assert (found.status, found.attempt, causes) == ("completed", 1, [])
        assert [row.epoch for row in found.curve] == list(range(1, found.epochs + 1))
    assert kinds == {*digits, "none"}
    # Only epochs that were not reported before the worker was lost are trained again.
    assert len(trained(tmp_path)) < sum(found.attempt * 3 for found in state.trials.values())


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_hang_ends_its_trial_with_the_reason(cellscout: Any, tmp_path: Path) -> None:
    (tmp_path / "fault-hang-01234567-2").touch()
    limits = ["faults.hang_seconds=2", "faults.hang_factor=2"]
    state, _ = searched(cellscout, tmp_path, "budget.trials=6", *limits, "sampler.name=tpe")
    hung = [found for found in state.trials.values() if found.fingerprint[-1] in "01234567"]
    assert hung
    for found in hung:
        assert found.status == "failed"
        assert found.error == "it hung: no epoch within 2 s (faults.hang_factor, faults.hang_seconds)"
    assert all(found.status == "completed" for found in state.trials.values() if found not in hung)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_search_in_which_everything_fails_stops_early_and_says_why(cellscout: Any, tmp_path: Path) -> None:
    (tmp_path / "fault-error-0123456789abcdef-1").touch()
    state, ended = searched(cellscout, tmp_path, "budget.trials=100")
    assert ended.status == 1
    assert "cellscout: the last 10 trials all failed, without an epoch in between; RuntimeError: mat1 and " in ended.err
    assert state.outcome == "failed"
    assert state.counts()["failed"] == 10


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_driver_that_is_killed_again_and_again_finds_what_an_undisturbed_one_does(
    tmp_path: Path, lasting_ray: Head
) -> None:
    one_worker = "{ cpus_per_trial = 2 }"
    halving = '{ name = "asha", reduction_factor = 2 }'
    search = search_file(tmp_path, budget="{ trials = 16 }", resources=one_worker, scheduler=halving)
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for folder, seconds in ((undisturbed, 0.01), (disturbed, EPOCH_SECONDS)):
        folder.mkdir()
        pace(folder, seconds)
    environment, join = lasting_ray.environment, ["--address", lasting_ray.address]
    theirs = Drivers(undisturbed, Searching(search, str(undisturbed / "run")), environment).finish(*join)
    # With this seed, the first two drivers are killed while they start, before there is a record.
    drivers = Drivers(disturbed, Searching(search, str(disturbed / "run")), environment, seed=2)
    for number in range(KILLS):
        # Once the driver starts its own Ray, which dies with it; joining a running one takes less time.
        drivers.kill(*([] if number == 4 else join))
    ours = drivers.finish(*join)
    state = RunState.replay(ours)
    assert state.outcome == "completed"
    assert seen(state) == seen(RunState.replay(theirs))
    assert len(on_record(ours)) == len(on_record(theirs)) == len(trained(undisturbed))
    assert set(trained(disturbed)) == set(trained(undisturbed))
    drivers.check_repeats()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scheduler", ["asha", pytest.param("asha_promotion", marks=pytest.mark.slow)])
def test_several_workers_lose_nothing_and_repeat_nothing_when_their_driver_is_killed(
    scheduler: str, tmp_path: Path, lasting_ray: Head
) -> None:
    search = search_file(tmp_path, budget="{ trials = 16 }", scheduler=f'{{ name = "{scheduler}" }}')
    pace(tmp_path)
    drivers = Drivers(tmp_path, Searching(search, str(tmp_path / "run")), lasting_ray.environment, seed=1)
    for _ in range(KILLS_OF_MANY):
        drivers.kill("--address", lasting_ray.address)
    events = drivers.finish("--address", lasting_ray.address)
    state = RunState.replay(events)
    assert state.outcome == "completed"
    assert sum(found.attempt > 0 for found in state.trials.values()) == 16
    assert {found.status for found in state.trials.values()} <= {"completed", "pruned", "duplicate"}
    check_ends(events)
    assert sorted(on_record(events)) == sorted(set(trained(tmp_path)))
    drivers.check_repeats(reports=2)  # one for each worker
    match scheduler:
        case "asha":
            check_stops(events)
        case "asha_promotion":
            check_promotions(events)
