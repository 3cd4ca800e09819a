"""A network trained in full: what is held out, which weights are kept, how they are tested. No Ray, no record.

The state is that of the training and, with early stopping, the weights of the best epoch so far; whoever trains keeps
the curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from trainables.baseline_spec import BaselineSpec
from trainables.baselines import BaselineNetwork, build_network
from trainables.costs import network_costs
from trainables.datasets import DataSplits
from trainables.early_stopping import best_epoch, is_stalled
from trainables.epoch_result import EpochResult
from trainables.folds import merged
from trainables.latency import measure_latency
from trainables.loader import DeviceData, DeviceImages
from trainables.network_spec import NetworkSpec
from trainables.peers import ALONE, Peers
from trainables.settings import TrainingSettings
from trainables.training import Training, part_of, scoring_batch
from trainables.transfer import InitialWeights


@dataclass(frozen=True, kw_only=True)
class RetrainingPlan:
    """How a network is trained in full.

    Args:
        spec: the network.
        training: the recipe.
        patience: None: train on training and validation images together. A number, at least 1: hold the validation
            images out, end when the accuracy on them has not risen for so many epochs, and keep the weights of the
            epoch in which it was highest.
        average_decay, start, compiled: as for `Training`.
    """

    spec: NetworkSpec | BaselineSpec
    training: TrainingSettings
    patience: int | None = None
    average_decay: float = 0.0
    compiled: bool = False
    start: InitialWeights | None = None

    def images(self, splits: DataSplits) -> DataSplits:
        """What is trained on, what is held out, and the test images, which only `scored_on_test` looks at."""
        return merged(splits) if self.patience is None else splits


@final
class Retraining:
    """One training of a plan by a seed, on `device`. `splits` are those of `RetrainingPlan.images`."""

    def __init__(
        self, plan: RetrainingPlan, splits: DataSplits, seed: int, place: torch.device, peers: Peers = ALONE
    ) -> None:
        self._plan = plan
        nothing = replace(splits, test=splits.test.take(splits.test.labels[:0]))
        self._training = Training(
            plan.spec,
            plan.training,
            DeviceData(nothing, place),
            seed,
            average_decay=plan.average_decay,
            peers=peers,
            compiled=plan.compiled,
            start=plan.start,
        )
        self._best: dict[str, Tensor] = {}
        self.curve: list[EpochResult] = []

    @property
    def is_held_out(self) -> bool:
        """Whether there are validation scores; they are NaN where nothing is held out."""
        return self._plan.patience is not None

    @property
    def is_over(self) -> bool:
        """Whether its last epoch was trained."""
        patience = self._plan.patience
        stalled = patience is not None and is_stalled(self.curve, patience)
        return self._training.epoch >= self._plan.training.epochs or stalled

    def train_epoch(self) -> EpochResult:
        """The next epoch; `val_loss` and `val_accuracy` are NaN where nothing is held out."""
        result = self._training.train_epoch()
        self.curve.append(result)
        if self._plan.patience is not None and best_epoch(self.curve) == result.epoch:
            self._best = {name: value.clone() for name, value in self._training.scored.state_dict().items()}
        return result

    def state(self) -> bytes:
        """All that `load_state` needs to go on bit for bit, but for the curve."""
        best = {f"best.{name}": value for name, value in self._best.items()}
        return _saved({**self._training.state(), **best})

    def load_state(self, state: bytes, curve: Sequence[EpochResult]) -> None:
        tensors = load(state)
        self._training.load_state(tensors)
        self._best = part_of(tensors, "best.")
        self.curve = list(curve)

    @property
    def kept_epoch(self) -> int:
        """Of which the weights are."""
        return best_epoch(self.curve) if self.is_held_out else len(self.curve)

    def weights(self) -> bytes:
        """Those to keep: of the best epoch where there is a held-out part, and averaged where that is asked for."""
        return _saved(self._best or self._training.scored.state_dict())


@dataclass(frozen=True)
class TestScore:
    """Of weights: mean cross-entropy and accuracy on the test images, and seconds for one image on a device."""

    loss: float
    accuracy: float
    device: str
    latency_seconds: float


def scored_on_test(plan: RetrainingPlan, weights: bytes, splits: DataSplits, *, workers: int = 1) -> TestScore:
    """Score weights on the test images of `splits`, which are those of `plan.images`, in float32.

    Args:
        plan: of the training, which says what the network is and how many images it was trained on at once.
        weights: of such a network.
        splits: with the test images.
        workers: among which batches were divided.

    Raises:
        ValueError: the weights are not those of such a network.
    """
    network = build_network(plan.spec)
    try:
        network.load_state_dict(load(weights))
    except (RuntimeError, SafetensorError) as error:
        raise ValueError("the weights are those of another network") from error
    place = device()
    network.to(place).to(memory_format=torch.channels_last).eval()
    images = DeviceImages(splits.test, splits.mean, splits.deviation, place)
    loss, hits = 0.0, 0
    # Float32 takes twice the memory of the numbers that a GPU trains in.
    at_once = scoring_batch(plan.training.batch_size, workers * (2 if place.type == "cuda" else 1))
    with torch.inference_mode():
        for batch, labels in images.in_order(at_once):
            logits = network(batch)
            loss += torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()
            hits += int((logits.argmax(dim=1) == labels).sum())
    latency = measure_latency(network, place).median_seconds
    return TestScore(loss / len(images), hits / len(images), str(place), latency)


def costs_of(spec: NetworkSpec | BaselineSpec) -> tuple[int, int]:
    """Parameters and multiply-adds for one image of the network in use, without an auxiliary head.

    Raises:
        ValueError: there is no such network.
    """
    if isinstance(spec, NetworkSpec):
        costs = network_costs(replace(spec, auxiliary_head=False))
        return costs.parameters, costs.macs
    with torch.random.fork_rng(devices=[]):
        network = BaselineNetwork(spec)
    return network.parameters_count, network.macs


def device() -> torch.device:
    """The GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _saved(tensors: dict[str, Tensor]) -> bytes:
    return save({name: value.contiguous() for name, value in tensors.items()})
