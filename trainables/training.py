"""Trains one candidate, epoch by epoch. Knows torch; does not know Ray, Optuna or where results go.

Each epoch draws its random numbers from generators seeded with the training's seed and the epoch's number, and the
learning rate is a function of the step. So weights, the optimiser's state and the epoch's number are all there is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.baseline_spec import BaselineSpec
from trainables.build_network import Network, build_network
from trainables.cuda_graph import DeviceStream, Replayed
from trainables.epoch_result import EpochResult
from trainables.loader import DeviceData
from trainables.modules import count_batches
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec
from trainables.peers import SINGLE_PROCESS, Peers
from trainables.procedure import TrainingProcedure
from trainables.settings import TrainingSettings
from trainables.training_step import Scoring, TrainingStep, half_precision
from trainables.transfer import InitialWeights
from trainables.weight_average import WeightAverage

MAX_SCORING_BATCH = 512
MIN_STEPS = 100
"""Steps in a training below which a graph does not repay its capture."""
PATIENCE_SECONDS = 5.0
"""An epoch that is shorter is trained to its end, also if it is to be stopped."""


def scoring_batch(batch_size: int, parts: int) -> int:
    """Number of images to score at once in a process that trains on batches of `batch_size`, split into `parts`.

    Twice the size of a part. Scoring keeps nothing for a backward pass, so in all but the smallest networks an image
    takes less than half of the memory of training on it, and a network that can be trained can also be scored.
    """
    return min(MAX_SCORING_BATCH, max(1, 2 * batch_size // parts))


class EpochStopped(Exception):  # noqa: N818  it is not an error
    """An epoch was given up before its end."""


@dataclass(frozen=True)
class Scores:
    """Scores on the validation images; NaN if there are none."""

    loss: float
    """Mean of the task's loss."""
    score: float
    """The task's score."""
    metrics: dict[str, float]
    """The procedure's metrics."""


class Training:
    """One candidate's network, optimiser and position in the schedule.

    Args:
        spec: the network.
        settings: how to train it.
        procedure: the optimiser, schedule, augmentation, loss and further metrics; by default those of the settings.
        data: the images, on the device to train on.
        seed: decides the initial weights, the order of the images, their augmentation and the dropped values.
        micro_batches: number of parts into which each batch is split; their gradients are added up. This needs the
            memory of one part and gives the step of the whole batch, except that batch norms use each part separately,
            and that a loss with class weights or ignored pixels is a mean over each part by itself.
        average_decay: decay (below 1) of a moving average of the weights. The average is scored instead of the weights.
            0: no average. See `weight_average`.
        start: the initial weights; None: random.
        peers: the processes that train the network together.
        compiled: whether to run the steps with `torch.compile`. The dropped values are then different ones.

    Raises:
        ValueError: the batches cannot be divided evenly among the processes.
    """

    def __init__(
        self,
        spec: NetworkSpec | BaselineSpec,
        settings: TrainingSettings,
        data: DeviceData,
        *,
        seed: int,
        procedure: type[TrainingProcedure] = TrainingProcedure,
        micro_batches: int = 1,
        average_decay: float = 0.0,
        peers: Peers = SINGLE_PROCESS,
        compiled: bool = False,
        start: InitialWeights | None = None,
    ) -> None:
        peers.check_batch(min(settings.batch_size, len(data.train)))
        self.peers = peers
        self.settings = settings
        self.data = data
        self.seed = seed
        self.epoch = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(spec)
        if data.vectors is not None:
            assert isinstance(network, CellNetwork), "baselines are for images"
            network.set_vectors(data.vectors)
        if start is not None:
            start.prepare(network)
        self.is_frozen = start is not None and start.freeze
        self.network: Network = network.to(data.device).to(memory_format=torch.channels_last)
        self.average = WeightAverage(self.network, average_decay) if average_decay else None

        self.procedure = procedure(settings, spec.classes, data.task)
        self._generator = torch.Generator(data.device)
        self._dropping_generator = self._generator
        if peers.count > 1:  # all processes draw the same order of images, but each drops other values
            self._dropping_generator = torch.Generator(data.device)
        # A compiled graph can only use torch's global generator.
        self.network.regularisation.generator = None if compiled else self._dropping_generator
        half = half_precision(data.device)
        self._step = TrainingStep(
            self.network,
            data.train,
            settings,
            procedure=self.procedure,
            generator=self._generator,
            peers=peers,
            micro_batches=micro_batches,
            compiled=compiled,
            half=half,
        )
        self._steps_per_epoch = max(1, len(data.train) // settings.batch_size)
        self._stream = DeviceStream(data.device)
        pays = settings.epochs * self._steps_per_epoch >= MIN_STEPS
        # Of the class itself: what a derived class overrides may not be capturable.
        is_graph = pays and peers.count == 1 and not compiled and vars(procedure).get("capturable", False)
        self._run_step = Replayed(self._step.run, self._stream, generators=(self._generator,), enabled=is_graph)
        at_once = scoring_batch(settings.batch_size, micro_batches * peers.count)
        self._scoring = Scoring(self.scored, data.validation, procedure=self.procedure, batch_size=at_once, half=half)
        self._run_scoring = Replayed(self._scoring.run, self._stream, enabled=is_graph)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of the network's weights."""
        return self._step.optimizer

    @property
    def scored(self) -> Network:
        """The network that is scored and saved: the weight average if there is one, else the trained network."""
        return self.network if self.average is None else self.average.network

    @property
    def capture_failure(self) -> str | None:
        """Why a step or the scoring is not replayed as a CUDA graph although it was tried."""
        return self._run_step.failure or self._run_scoring.failure

    def train_epoch(self, is_stopped: Callable[[], bool] = lambda: False) -> EpochResult:
        """Train one epoch, then score on the validation images; the validation scores are NaN if there are none.

        Args:
            is_stopped: asked before each step whether to give up the epoch once it has taken `PATIENCE_SECONDS`.

        Raises:
            EpochStopped: the epoch was given up; only `load_state` can continue.
        """
        # Torchvision's models draw from the global generator.
        devices = [self.data.device] if self.data.device.type == "cuda" else []
        with torch.random.fork_rng(devices), self._stream.entered():
            seed = _epoch_seed(self.seed, self.epoch)
            torch.manual_seed(seed + self.peers.rank)
            self._dropping_generator.manual_seed(seed + 1 + self.peers.rank)
            self._generator.manual_seed(seed)
            return self._train_epoch(is_stopped)

    @property
    def _counts_on_device(self) -> bool:
        """Whether the optimiser needs its number of steps on the device."""
        return any(self.optimizer.defaults.get(name) for name in ("capturable", "fused"))

    def _train_epoch(self, is_stopped: Callable[[], bool]) -> EpochResult:
        started = time.perf_counter()
        step = self._step
        self.network.train(not self.is_frozen)
        steps, size = self._steps_per_epoch, step.batch_size
        progress = [(self.epoch + number / steps) / self.settings.epochs for number in range(steps)]
        rates = [self.procedure.learning_rate(at) for at in progress]
        schedule = step.scheduled(rates, progress)
        order = torch.randperm(len(self.data.train), generator=self._generator, device=self.data.device)
        self.peers.share([order])  # what a GPU draws depends on its model
        step.loss_sum.zero_()
        step.score_sums.zero_()
        for number in range(steps):
            if time.perf_counter() - started > PATIENCE_SECONDS and is_stopped():
                raise EpochStopped
            step.place(order[number * size : (number + 1) * size], schedule[number])
            self._run_step()
            if self.average is not None and self.peers.is_first:
                self.average.update()
        if not self.is_frozen:
            count_batches(self.network, steps)
        if self.average is not None:
            self.average.copy_counts()
        self.peers.share(self.scored.state_dict().values())
        train_loss = self.peers.sum(step.loss_sum).item()  # waits for the device
        score_sums = self.peers.sum(step.score_sums)
        train_seconds = time.perf_counter() - started
        scores = self.validate()
        self.epoch += 1
        images_seen = steps * size
        return EpochResult(
            epoch=self.epoch,
            train_loss=train_loss / images_seen,
            train_accuracy=self.data.task.score.value(score_sums, images_seen),
            val_loss=scores.loss,
            val_accuracy=scores.score,
            learning_rate=rates[-1],
            seconds=time.perf_counter() - started,
            images_per_second=images_seen / train_seconds,
            ended_at=time.time(),
            metrics=scores.metrics,
        )

    def validate(self) -> Scores:
        """Score the validation images, each process its part of them."""
        images, scoring = torch.arange(len(self.data.validation), device=self.data.device), self._scoring
        self.scored.eval()
        scoring.sums.zero_()
        scoring.score_sums.zero_()
        for indices in self.peers.portion(images).split(scoring.batch_size):
            if len(indices) == scoring.batch_size:
                scoring.place(indices)
                self._run_scoring()
            elif len(indices):
                scoring.add(indices)
        sums, score_sums = self.peers.sum(scoring.sums).tolist(), self.peers.sum(scoring.score_sums)
        count = len(images)
        loss, *metrics = (value / count if count else math.nan for value in sums)
        score = self.data.task.score.value(score_sums, count) if count else math.nan
        return Scores(loss, score, dict(zip(self.procedure.metrics, metrics, strict=True)))

    def state(self) -> dict[str, Tensor]:
        """Weights, their average, the optimiser's state, the scale of float16's gradients and the epoch, by name.

        That is enough for `load_state` to continue bit for bit.
        """
        state = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                state[f"optimizer.{key}.{name}"] = torch.as_tensor(value)
        state |= {f"scaler.{name}": torch.tensor(value) for name, value in self._step.scaler.state_dict().items()}
        if self.average is not None:
            state |= {f"average.{name}": value for name, value in self.average.state().items()}
        return {**state, "epoch": torch.tensor(self.epoch)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a result of `state`. The seed and the settings must be the same."""
        self.network.load_state_dict(select_prefix(state, "network."))
        if self.average is not None:
            self.average.load_state(select_prefix(state, "average."))
        kept = [name.split(".", 1) for name in select_prefix(state, "optimizer.")]
        parameters = dict(self.network.named_parameters())
        self.optimizer.state.clear()
        for key, name in kept:
            value, parameter = state[f"optimizer.{key}.{name}"], parameters[name]
            if value.shape == parameter.shape:
                # In the parameter's memory layout, so that the next step is the same bit for bit.
                value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            else:  # some optimisers keep the number of steps on the CPU
                on_device = key != "step" or self._counts_on_device
                value = value.to(parameter.device if on_device else "cpu", copy=True)
            self.optimizer.state[parameter][key] = value
        scaler = {name: value.item() for name, value in select_prefix(state, "scaler.").items()}
        if scaler:  # a training that began where float16 was not needed has none
            self._step.scaler.load_state_dict(scaler)
        self.epoch = int(state["epoch"])
        self._run_step.forget()  # the optimiser's state was replaced


def select_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with the prefix, which is removed from their names."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
