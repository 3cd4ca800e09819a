"""A step and the scoring as CUDA graphs: the rules of the capture with a stand-in for it, and the graphs on a GPU."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from search_spaces import NASNET_A
from trainables.baseline_spec import BaselineSpec
from trainables.cuda_graph import EAGER_CALLS, DeviceStream, Replayed
from trainables.datasets import load_data
from trainables.latency import alone_on_node
from trainables.loader import DeviceData
from trainables.network_spec import NetworkSpec
from trainables.settings import DataSettings, TrainingSettings
from trainables.training import Training

SPEC = NetworkSpec(architecture=NASNET_A, repeats=1, filters=4, classes=10, image_channels=1, image_size=(8, 8))


def needs_gpu(test: Any) -> Any:
    """Skip the test without a CUDA device."""
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")(test))


class FakeGraph:
    """Replays the calls that were made while it was captured."""

    calls: list[str]

    def register_generator_state(self, generator: torch.Generator) -> None:
        generator.seed()

    def replay(self) -> None:
        CALLS.extend(f"replayed {call}" for call in self.calls)


CALLS: list[str] = []


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> DeviceStream:
    """The stream of a GPU that only records what is captured."""

    @contextlib.contextmanager
    def capture(graph: FakeGraph, **_: object) -> Iterator[None]:
        before = len(CALLS)
        yield
        graph.calls = CALLS[before:]
        del CALLS[before:]

    CALLS.clear()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    made = DeviceStream(torch.device("cpu"))
    made.stream = SimpleNamespace(device_index=0)  # type: ignore[assignment]
    return made


def called() -> None:
    CALLS.append("step")


def test_a_function_is_captured_after_a_few_calls_and_never_runs_twice(stream: DeviceStream) -> None:
    run = Replayed(called, stream, generators=(torch.Generator(),))
    for _ in range(EAGER_CALLS + 2):
        run()
    assert CALLS == ["step"] * EAGER_CALLS + ["replayed step"] * 2
    assert (run.is_captured, run.failure) == (True, None)


def test_a_graph_is_captured_anew_after_its_tensors_were_replaced(stream: DeviceStream) -> None:
    run = Replayed(called, stream)
    for _ in range(EAGER_CALLS + 1):
        run()
    run.forget()
    run()
    assert CALLS[-2:] == ["replayed step", "step"]


def test_a_failed_capture_leaves_the_calls_eager_and_is_told(
    stream: DeviceStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def fail(*_: object, **__: object) -> Iterator[None]:
        raise torch.cuda.OutOfMemoryError("CUDA out of\nmemory")
        yield

    class Waiting:
        """A generator that waits for the end of its graph until it gets another state."""

        state = "waits for a graph"

        def clone_state(self) -> str:
            return "as before"

        def graphsafe_set_state(self, state: str) -> None:
            self.state = state

    everyones = Waiting()
    monkeypatch.setattr(torch.cuda, "graph", fail)
    monkeypatch.setattr(torch.cuda, "default_generators", (everyones,))
    run = Replayed(called, stream)
    for _ in range(EAGER_CALLS + 2):
        run()
    assert CALLS == ["step"] * (EAGER_CALLS + 2)
    assert (run.is_captured, run.failure) == (False, "CUDA out of memory")
    assert everyones.state == "as before"


@pytest.mark.parametrize("enabled", [False, True])
def test_on_a_cpu_or_if_not_wanted_every_call_is_eager(stream: DeviceStream, enabled: bool) -> None:
    run = Replayed(called, DeviceStream(torch.device("cpu")) if enabled else stream, enabled=enabled)
    for _ in range(EAGER_CALLS + 2):
        run()
    assert CALLS == ["step"] * (EAGER_CALLS + 2)


def test_one_process_at_a_time_measures_on_the_gpus_of_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    entered = threading.Event()

    def measure() -> None:
        with alone_on_node(torch.device("cuda")):
            entered.set()

    other = threading.Thread(target=measure)
    with alone_on_node(torch.device("cuda")):
        other.start()
        assert not entered.wait(0.2)
        with alone_on_node(torch.device("cpu")):  # need not wait
            pass
    assert entered.wait(10)
    other.join()


@pytest.fixture(scope="module")
def on_gpu() -> DeviceData:
    return DeviceData(load_data(DataSettings(validation_fraction=0.2), seed=0), torch.device("cuda"))


def training(data: DeviceData, spec: Any = SPEC, **changes: Any) -> Training:
    settings = {"epochs": 4, "batch_size": 32, "crop_padding": 1, "flip": True, "cutout": 2}
    given = {name: changes.pop(name) for name in tuple(changes) if name in ("average_decay", "micro_batches")}
    return Training(spec, TrainingSettings(**{**settings, **changes}), data, seed=3, **given)


def eager(run: Training) -> Training:
    run._run_step._enabled = run._run_scoring._enabled = False
    return run


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (SPEC, {}),
    "regularised": (replace(SPEC, drop_path_probability=0.3, dropout=0.3), {}),
    "auxiliary head": (replace(SPEC, image_size=(9, 9), auxiliary_head=True), {"auxiliary_weight": 0.4}),
    "average": (SPEC, {"average_decay": 0.9}),
    "parts": (SPEC, {"micro_batches": 2}),
    "baseline": (BaselineSpec(baseline="resnet18", classes=10, image_channels=1, image_size=(8, 8)), {}),
}


@needs_gpu
@pytest.mark.parametrize("case", CASES)
def test_a_graph_trains_as_eager_steps_do(on_gpu: DeviceData, case: str, deterministic: None) -> None:
    spec, settings = CASES[case]
    data = on_gpu
    if case == "auxiliary head":
        data = DeviceData(load_data(DataSettings(validation_fraction=0.2, image_size=9), seed=0), torch.device("cuda"))
    captured, plain = training(data, spec, **settings), eager(training(data, spec, **settings))
    for _ in range(2):
        ours, theirs = captured.train_epoch(), plain.train_epoch()
        assert (ours.train_loss, ours.val_loss) == (theirs.train_loss, theirs.val_loss)
    assert captured.capture_failure is None
    assert captured._run_step.is_captured
    assert captured._run_scoring.is_captured
    assert not plain._run_step.is_captured
    states = captured.state(), plain.state()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


@needs_gpu
def test_a_graph_goes_on_from_a_checkpoint_bit_for_bit(on_gpu: DeviceData, deterministic: None) -> None:
    whole = training(on_gpu)
    whole.train_epoch()
    saved = {name: value.clone() for name, value in whole.state().items()}
    resumed = training(on_gpu)
    resumed.train_epoch()  # its own progress is overwritten, and its graph is of other tensors
    resumed.load_state(saved)
    ours, theirs = resumed.train_epoch(), whole.train_epoch()
    assert (ours.train_loss, ours.val_loss) == (theirs.train_loss, theirs.val_loss)


@needs_gpu
def test_a_step_that_cannot_be_captured_goes_on_eagerly(on_gpu: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    run = training(on_gpu)
    step = run._step.run

    def waiting() -> None:
        step()
        run._step.loss_sum.item()  # waits for the device, which a capture forbids

    run._run_step._function = waiting
    results = [run.train_epoch() for _ in range(3)]
    assert run.capture_failure is not None
    assert results[-1].train_loss < results[0].train_loss


@needs_gpu
def test_the_memory_of_a_candidate_and_its_graphs_is_freed(on_gpu: DeviceData) -> None:
    used: list[int] = []
    for _ in range(3):
        run = training(on_gpu)
        run.train_epoch()
        del run
        gc.collect()
        torch.cuda.empty_cache()
        used.append(torch.cuda.memory_reserved())
    assert used[2] <= used[0] + 2**21


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sums in one order, so that two trainings agree to the last bit."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
