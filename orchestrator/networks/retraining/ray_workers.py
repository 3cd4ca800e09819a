"""Trains a network with several processes on a Ray cluster. Ray Train starts them, and restarts them if one dies.

The first process writes checkpoints into the run directory, which all processes must be able to read, and reports each
epoch to the driver. Only the driver writes the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster import node_resources
from orchestrator.errors import ClusterError, SearchError, last_line
from orchestrator.words import counted
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.storage import Folder

if TYPE_CHECKING:
    from trainables.retraining import RetrainingPlan
    from trainables.retraining_job import Listener, RetrainingJob

MAX_FAILURES = 3
"""Maximum number of deaths of a process or its node in one training, which then resumes from the last checkpoint."""

WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class RayWorkers:
    """A place to train: processes on a Ray cluster."""

    count: int
    """Number of processes."""
    cpus: int
    """CPUs of each process."""
    on_gpus: bool
    """Whether each process has a GPU."""
    scratch: Folder
    """Folder for Ray Train's own files; it is deleted after the training."""
    is_stopped: Callable[[], bool]
    """Whether the user asked to stop."""

    @classmethod
    def planned(cls, count: int, *, cpus: int, scratch: Folder, is_stopped: Callable[[], bool]) -> RayWorkers:
        """Plan the processes, each with a GPU if the cluster has any.

        Raises:
            ClusterError: the cluster has too few CPUs or GPUs.
        """
        nodes = node_resources()
        gpus = int(sum(node.get("GPU", 0) for node in nodes))
        room = sum(int(min(node.get("CPU", 0) // cpus, node.get("GPU", 0) if gpus else count)) for node in nodes)
        if room < count:
            what = counted(gpus, "GPU") if gpus else counted(sum(node.get("CPU", 0.0) for node in nodes), "CPU")
            needs = f"{counted(cpus, 'CPU')}{' and a GPU' if gpus else ''} each"
            raise ClusterError(
                f"--workers is {count}; the cluster has room for {room} ({what}; {needs}, resources.cpus_per_trial)"
            )
        return cls(count, cpus, gpus > 0, scratch, is_stopped)

    def use_threads(self, plan: RetrainingPlan, images: DataSplits, threads: int | None) -> None:
        """Ray has given each process its threads."""

    def train(self, job: RetrainingJob, images: DataSplits, listener: Listener) -> None:
        """Train as `Place.train` says."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        channel = ray.remote(_Channel).options(num_cpus=0, scheduling_strategy=here).remote()
        # In a thread, because Ray Train handles Ctrl-C itself in the main thread.
        thread = ThreadPoolExecutor(1, thread_name_prefix="ray-train")
        fitting = thread.submit(self._fit, {"job": job, "images": ray.put(images), "channel": channel})
        thread.shutdown(wait=False)
        try:
            self._listen(channel, fitting, listener)
        except BaseException:
            channel.stop.remote()  # do not wait: the workers end with the connection to Ray
            raise
        fitting.result()

    def _listen(self, channel: ActorHandle, fitting: Future[None], listener: Listener) -> None:
        while True:
            is_over = fitting.done()  # read before the messages, so that none is missed
            if self.is_stopped():  # the workers see it after the current epoch
                channel.stop.remote()
            messages = ray.get(channel.take.remote(0.0 if is_over else WAIT_SECONDS))
            for name, value in messages:
                getattr(listener, name)(value)
            if is_over and not messages:
                return

    def _fit(self, config: dict[str, Any]) -> None:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        resources = {"CPU": float(self.cpus), **({"GPU": 1.0} if self.on_gpus else {})}
        trainer = TorchTrainer(
            _work,
            train_loop_config=config,
            torch_config=TorchConfig(backend="nccl" if self.on_gpus else "gloo"),
            scaling_config=ScalingConfig(num_workers=self.count, use_gpu=self.on_gpus, resources_per_worker=resources),
            run_config=RunConfig(
                name="retrain",
                storage_path=self.scratch.path,
                storage_filesystem=self.scratch.filesystem,
                failure_config=FailureConfig(max_failures=MAX_FAILURES),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # Ray wraps what a worker raised in classes of its own
            raise SearchError(f"the training on {self.count} workers failed: {last_line(error)}") from error
        finally:
            self.scratch.delete()


def _work(config: dict[str, Any]) -> None:
    """The function that each process runs."""
    from ray.train.torch import get_device

    from trainables.peers import Peers
    from trainables.retraining_job import run_job

    images = ray.get(config["images"])
    run_job(
        config["job"],
        images,
        _ListenerProxy(config["channel"]),
        device=get_device(),
        peers=Peers.from_process_group(),
    )


class _Channel:
    """An actor between the first process and the driver: messages in order, and whether to stop."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._is_stopped = False

    async def put(self, name: str, value: Any) -> bool:
        await self._messages.put((name, value))
        return self._is_stopped

    async def take(self, seconds: float) -> list[tuple[str, Any]]:
        """All new messages; waits at most this many seconds for the first one."""
        try:
            messages = [await asyncio.wait_for(self._messages.get(), seconds)]
        except TimeoutError:
            messages = []
        while not self._messages.empty():
            messages.append(self._messages.get_nowait())
        return messages

    async def stop(self) -> None:
        self._is_stopped = True


class _ListenerProxy:
    """A listener in the first process that forwards to the driver's listener."""

    def __init__(self, channel: ActorHandle) -> None:
        self._channel = channel

    def begun(self, curve: Sequence[EpochResult]) -> None:
        ray.get(self._channel.put.remote("begun", list(curve)))

    def is_stopped(self) -> bool:
        """Never: to ask the driver before each step would take longer than many a step. `trained` asks."""
        return False

    def trained(self, result: EpochResult) -> bool:
        return bool(ray.get(self._channel.put.remote("trained", result)))

    def ended(self, kept_epoch: int | None) -> None:
        ray.get(self._channel.put.remote("ended", kept_epoch))
