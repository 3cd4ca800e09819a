"""Trains a network in full: which images are held out, which weights are kept, how they are tested. No Ray, no record.

The state is that of the training and, with early stopping, the weights of the best epoch so far. It does not hold the
curve, which the caller must store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from trainables.baseline_spec import BaselineSpec
from trainables.build_network import Network, build_network
from trainables.costs import network_costs
from trainables.datasets import DataSplits
from trainables.early_stopping import best_epoch, is_stalled
from trainables.epoch_result import EpochResult
from trainables.folds import merge_validation
from trainables.latency import measure_latency
from trainables.loader import DeviceData, DeviceImages
from trainables.network_spec import NetworkSpec
from trainables.peers import SINGLE_PROCESS, Peers
from trainables.procedure import TrainingProcedure
from trainables.settings import TrainingSettings
from trainables.tasks.table import find_task
from trainables.training import Training, scoring_batch, select_prefix
from trainables.transfer import InitialWeights


@dataclass(frozen=True, kw_only=True)
class RetrainingPlan:
    """How a network is trained in full."""

    spec: NetworkSpec | BaselineSpec
    """The network."""
    training: TrainingSettings
    """The recipe."""
    patience: int | None = None
    """Epochs without a better validation accuracy after which to stop, at least 1; the best epoch's weights are kept.
    None: no early stopping; the validation images are trained on too."""
    average_decay: float = 0.0
    """As for `Training`."""
    compiled: bool = False
    """As for `Training`."""
    start: InitialWeights | None = None
    """The initial weights; None: random."""
    procedure: type[TrainingProcedure] = TrainingProcedure
    """As for `Training`."""

    def images(self, splits: DataSplits) -> DataSplits:
        """The images to train on, the held-out images, and the test images, which only `score_on_test` uses."""
        return merge_validation(splits) if self.patience is None else splits


@final
class Retraining:
    """One training of a plan with one seed.

    Args:
        plan: the network and how to train it.
        splits: the result of `plan.images`.
        seed: as for `Training`.
        device: where to train.
        peers: the processes that train the network together.
    """

    def __init__(
        self,
        plan: RetrainingPlan,
        splits: DataSplits,
        *,
        seed: int,
        device: torch.device,
        peers: Peers = SINGLE_PROCESS,
    ) -> None:
        self._plan = plan
        without_test = replace(splits, test=splits.test.take(np.empty(0, np.int64)))
        self._training = Training(
            plan.spec,
            plan.training,
            DeviceData(without_test, device),
            seed=seed,
            procedure=plan.procedure,
            average_decay=plan.average_decay,
            peers=peers,
            compiled=plan.compiled,
            start=plan.start,
        )
        self._best: dict[str, Tensor] = {}
        self.curve: list[EpochResult] = []

    @property
    def is_held_out(self) -> bool:
        """Whether images are held out for validation. If not, the validation scores are NaN."""
        return self._plan.patience is not None

    @property
    def is_over(self) -> bool:
        """Whether all epochs have been trained, or early stopping has ended the training."""
        patience = self._plan.patience
        stalled = patience is not None and is_stalled(self.curve, patience)
        return self._training.epoch >= self._plan.training.epochs or stalled

    def train_epoch(self, is_stopped: Callable[[], bool] = lambda: False) -> EpochResult:
        """Train the next epoch, as `Training.train_epoch`."""
        result = self._training.train_epoch(is_stopped)
        self.curve.append(result)
        if self._plan.patience is not None and best_epoch(self.curve) == result.epoch:
            self._best = {name: value.clone() for name, value in self._training.scored.state_dict().items()}
        return result

    def state(self) -> bytes:
        """Everything that `load_state` needs to continue bit for bit, except the curve, its other argument."""
        best = {f"best.{name}": value for name, value in self._best.items()}
        return _to_bytes({**self._training.state(), **best})

    def load_state(self, state: bytes, curve: Sequence[EpochResult]) -> None:
        """Continue from a result of `state` and the curve up to there."""
        tensors = load(state)
        self._training.load_state(tensors)
        self._best = select_prefix(tensors, "best.")
        self.curve = list(curve)

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights `weights` returns."""
        return best_epoch(self.curve) if self.is_held_out else len(self.curve)

    def weights(self) -> bytes:
        """The weights to keep: those of the best epoch if images are held out, and the average if the plan has one."""
        return _to_bytes(self._best or self._training.scored.state_dict())


@dataclass(frozen=True, kw_only=True)
class TestScore:
    """The scores of a network's weights on the test images."""

    loss: float
    """Mean of the task's loss."""
    accuracy: float
    """The task's score, 0..1."""
    by_class: dict[str, float | None] | None
    """The score of each class, None for one that does not occur; None if the task has none."""
    device: str
    """The device on which it was scored."""
    latency_seconds: float
    """Median time for one image on that device."""


def score_on_test(plan: RetrainingPlan, weights: bytes, splits: DataSplits, *, workers: int = 1) -> TestScore:
    """Score weights on the test images in float32.

    Args:
        plan: the plan of the training; gives the network, and the batch size that its memory allows.
        weights: the network's weights in the safetensors format.
        splits: the result of `plan.images`.
        workers: number of processes among which the training divided each batch.

    Raises:
        ValueError: the weights are not those of the plan's network.
    """
    network, device = _loaded(plan, weights)
    images = DeviceImages(splits.test, mean=splits.mean, deviation=splits.deviation, device=device)
    task, loss = find_task(splits.task), 0.0
    sums = torch.zeros(task.score.shape(plan.spec.classes), device=device, dtype=torch.float64)
    # Float32 takes twice the memory of bfloat16, in which GPUs train.
    at_once = scoring_batch(plan.training.batch_size, workers * (2 if device.type == "cuda" else 1))
    with torch.inference_mode():
        for batch, labels in images.in_order(at_once):
            logits = network(batch)
            loss += task.loss_sum(logits, labels).item()
            sums += task.score.sums(logits, labels)
    latency = measure_latency(network, device).median_seconds
    by_class = task.score.by_class
    return TestScore(
        loss=loss / len(images),
        accuracy=task.score.value(sums, len(images)),
        by_class=None if by_class is None else dict(zip(splits.classes, by_class(sums), strict=True)),
        device=str(device),
        latency_seconds=latency,
    )


def outputs_on_test(plan: RetrainingPlan, weights: bytes, splits: DataSplits, count: int) -> NDArray[np.float32]:
    """The outputs [n, outputs, ...] for the first test images, at most `count`; otherwise as `score_on_test`."""
    network, device = _loaded(plan, weights)
    first = splits.test.take(np.arange(min(count, len(splits.test))))
    images = DeviceImages(first, mean=splits.mean, deviation=splits.deviation, device=device)
    with torch.inference_mode():
        found = [network(batch).cpu() for batch, _ in images.in_order(scoring_batch(plan.training.batch_size, 2))]
    return np.asarray(torch.cat(found).numpy())


def _loaded(plan: RetrainingPlan, weights: bytes) -> tuple[Network, torch.device]:
    """The network with its weights for inference, and its device; ValueError if they belong to another network."""
    network = build_network(plan.spec)
    try:
        network.load_state_dict(load(weights))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError("the weights are those of another network") from error
    device = select_device()
    return network.to(device).to(memory_format=torch.channels_last).eval(), device


def count_costs(spec: NetworkSpec | BaselineSpec) -> tuple[int, int]:
    """Count parameters, and multiply-adds per image, of a network without its auxiliary head.

    Raises:
        ValueError: no network can be built from `spec`.
    """
    if isinstance(spec, NetworkSpec):
        costs = network_costs(replace(spec, auxiliary_head=False))
        return costs.parameters, costs.macs
    from trainables.baselines import BaselineNetwork  # imports torchvision, which a cell network does not need

    with torch.random.fork_rng(devices=[]):
        network = BaselineNetwork(spec)
    return network.parameters_count, network.macs


def select_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _to_bytes(tensors: dict[str, Tensor]) -> bytes:
    return save({name: value.contiguous() for name, value in tensors.items()})
