"""A training by several processes on a Ray cluster: Ray Train starts them, again where one dies; PyTorch joins them.

The first of them reports each epoch to the driver, which alone writes the record, and writes checkpoints into the run
directory, which all of them must be able to read.
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
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.storage import Folder

if TYPE_CHECKING:
    from trainables.retraining_job import Listener, RetrainingJob

MOST_FAILURES = 3
"""So often a process may die (with its node, perhaps) in one training; it goes on from the last checkpoint."""

WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class RayWorkers:
    """
    Args:
        count: of the processes.
        cpus: for each.
        on_gpus: whether each has a GPU.
        scratch: for what Ray Train writes; it is removed.
        is_stopped: whether the user asked to stop.
    """

    count: int
    cpus: int
    on_gpus: bool
    scratch: Folder
    is_stopped: Callable[[], bool]

    @classmethod
    def planned(cls, count: int, cpus: int, scratch: Folder, is_stopped: Callable[[], bool]) -> RayWorkers:
        """With a GPU each if the cluster has any.

        Raises:
            ClusterError: it has fewer than are needed.
        """
        nodes = node_resources()
        gpus = int(sum(node.get("GPU", 0) for node in nodes))
        room = sum(int(min(node.get("CPU", 0) // cpus, node.get("GPU", 0) if gpus else count)) for node in nodes)
        if room < count:
            what = f"{gpus} GPUs" if gpus else f"{int(sum(node.get('CPU', 0) for node in nodes))} CPUs"
            needs = f"{cpus} CPUs{' and a GPU' if gpus else ''} each"
            raise ClusterError(
                f"--workers is {count}; the cluster has room for {room} ({what}; {needs}, resources.cpus_per_trial)"
            )
        return cls(count, cpus, gpus > 0, scratch, is_stopped)

    def train(self, job: RetrainingJob, images: DataSplits, listener: Listener) -> None:
        """See `Place`."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        line = ray.remote(_Channel).options(num_cpus=0, scheduling_strategy=here).remote()
        # In a thread, because Ray Train takes over Ctrl-C in the main one.
        thread = ThreadPoolExecutor(1, thread_name_prefix="ray-train")
        fitting = thread.submit(self._fit, {"job": job, "images": ray.put(images), "line": line})
        thread.shutdown(wait=False)
        try:
            self._listen(line, fitting, listener)
        except BaseException:
            line.stop.remote()  # it is not waited for: the workers end with the connection to Ray
            raise
        fitting.result()

    def _listen(self, line: ActorHandle, fitting: Future[None], listener: Listener) -> None:
        while True:
            is_over = fitting.done()  # asked first, so that nothing said before its end is missed
            if self.is_stopped():  # heard after the epoch that is under way
                line.stop.remote()
            said = ray.get(line.heard.remote(0.0 if is_over else WAIT_SECONDS))
            for name, value in said:
                getattr(listener, name)(value)
            if is_over and not said:
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
                failure_config=FailureConfig(max_failures=MOST_FAILURES),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # Ray's own kinds, which wrap whatever a worker raised
            raise SearchError(f"the training on {self.count} workers failed: {last_line(error)}") from error
        finally:
            self.scratch.delete()


def _work(config: dict[str, Any]) -> None:
    """What each process does."""
    from ray.train.torch import get_device

    from trainables.peers import Peers
    from trainables.retraining_job import run_job

    images = ray.get(config["images"])
    run_job(
        config["job"],
        images,
        _ListenerProxy(config["line"]),
        device=get_device(),
        peers=Peers.from_process_group(),
    )


class _Channel:
    """An actor between the first process and the driver: what is said, in order, and whether to stop."""

    def __init__(self) -> None:
        self._said: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._is_stopped = False

    async def say(self, name: str, value: Any) -> bool:
        await self._said.put((name, value))
        return self._is_stopped

    async def heard(self, seconds: float) -> list[tuple[str, Any]]:
        """All that was said since, perhaps nothing after so many seconds."""
        try:
            said = [await asyncio.wait_for(self._said.get(), seconds)]
        except TimeoutError:
            said = []
        while not self._said.empty():
            said.append(self._said.get_nowait())
        return said

    async def stop(self) -> None:
        self._is_stopped = True


class _ListenerProxy:
    """A listener in the first process, which tells the driver's."""

    def __init__(self, line: ActorHandle) -> None:
        self._line = line

    def begun(self, curve: Sequence[EpochResult]) -> None:
        ray.get(self._line.say.remote("begun", list(curve)))

    def trained(self, result: EpochResult) -> bool:
        return bool(ray.get(self._line.say.remote("trained", result)))

    def ended(self, kept_epoch: int | None) -> None:
        ray.get(self._line.say.remote("ended", kept_epoch))
