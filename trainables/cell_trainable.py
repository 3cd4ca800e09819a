"""The trainable of cell networks, the only module that uses both Ray and torch.

The driver imports this module, so torch is imported inside the methods, which only workers call.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ray

from search_spaces import Architecture
from trainables.datasets import DataSplits
from trainables.epoch_result import EpochResult
from trainables.epoch_trainable import EpochTrainable
from trainables.gpu_memory import trial_gpu_bytes
from trainables.network_plan import plan_network
from trainables.procedure import TrainingProcedure, public_names
from trainables.trial_plan import TrialPlan

if TYPE_CHECKING:
    import torch

    from trainables.loader import DeviceData
    from trainables.training import Training


class CellTrainable(EpochTrainable):
    """Builds the candidate's network and trains it on the GPU or the CPUs that Ray allots.

    Derive from it to train in another way: set `procedure`, and override nothing else.

    Raises:
        TypeError: a derived class itself has what belongs to its procedure.
    """

    procedure: type[TrainingProcedure] = TrainingProcedure
    """The optimiser, schedule, augmentation, loss and further metrics."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in public_names():
            if name in vars(cls):
                raise TypeError(
                    f"{cls.__name__}.{name} has no effect; put it into a class that derives from TrainingProcedure, "
                    f"and name that class in {cls.__name__}: procedure = ..."
                )
        cls.metrics = cls.procedure.metrics

    _data: DeviceData | None = None
    _training: Training | None = None
    _built: dict[str, Any]

    @classmethod
    def check(cls, plan: TrialPlan) -> None:
        plan.training.check_images(*plan.image_shape[:-1])
        plan_network(plan.example())

    @classmethod
    def gpu_bytes(cls, plan: TrialPlan, data: DataSplits) -> int | None:
        return trial_gpu_bytes(plan, data)

    @classmethod
    def rehearsal(cls, plan: TrialPlan) -> Callable[[DataSplits], None] | None:
        if cls.procedure is TrainingProcedure and not plan.own_operations:
            return None
        return functools.partial(_rehearse, plan, cls.procedure)

    def prepare(self, data: DataSplits) -> None:
        import torch

        from trainables.loader import DeviceData

        torch.set_num_threads(self.plan.threads)
        device = _device()
        self._data = self._training = None  # freed before the next are built, so that two never share the device
        if device.type == "cuda":
            # So that a trial runs out of its own share of the memory, and not of a neighbour's.
            share = ray.get_runtime_context().get_assigned_resources().get("GPU", 1.0)
            torch.cuda.set_per_process_memory_fraction(min(share, 1.0))
        self._data = DeviceData(data, device)

    def begin(self, architecture: Architecture) -> dict[str, Any]:
        import torch

        from trainables.latency import measure_latency
        from trainables.training import Training

        self._training = None  # freed before the next is built, so that two never share the device
        data = self._data
        assert data is not None, "prepare() comes first"
        if data.device.type == "cuda":
            torch.cuda.empty_cache()  # other workers on the same GPU cannot use memory that PyTorch caches
        spec = self.plan.network_spec(architecture)
        self._training = Training(
            spec,
            self.plan.training,
            data,
            seed=self.plan.seed,
            procedure=self.procedure,
            micro_batches=self.micro_batches,
        )
        self._built = {"device": str(data.device)}
        if self.plan.measure_latency:
            self._built["latency_seconds"] = measure_latency(self._training.network, data.device).median_seconds
        return self._built

    def train_epoch(self) -> EpochResult:
        result = self._candidate.train_epoch()
        if self._candidate.capture_failure is not None:  # known only now; the first report tells it
            self._built["device"] = f"{self._candidate.data.device}, eager ({self._candidate.capture_failure})"
        return result

    def weights(self) -> bytes:
        from safetensors.torch import save

        return save({name: value.contiguous() for name, value in self._candidate.network.state_dict().items()})

    def state(self) -> bytes:
        """Weights, momentum and epoch in the safetensors format: enough to continue bit for bit."""
        from safetensors.torch import save

        return save({name: value.contiguous() for name, value in self._candidate.state().items()})

    def load_state(self, state: bytes) -> None:
        from safetensors.torch import load

        self._candidate.load_state(load(state))

    def cleanup(self) -> None:
        self._training = None

    @property
    def _candidate(self) -> Training:
        assert self._training is not None, "begin() comes first"
        return self._training


def _rehearse(plan: TrialPlan, procedure: type[TrainingProcedure], data: DataSplits) -> None:
    from trainables.rehearsal import rehearse

    with contextlib.nullcontext() if plan.home is None else plan.home.entered():
        rehearse(plan, procedure, data, _device())


def _device() -> torch.device:
    """The device that Ray allots to this process."""
    import torch

    return torch.device("cuda" if ray.get_gpu_ids() and torch.cuda.is_available() else "cpu")
