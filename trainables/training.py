"""Trains one candidate, epoch by epoch. Knows torch; does not know Ray, Optuna or where results go.

Each epoch draws its random numbers from a generator seeded with the training's seed and the epoch's number, and the
learning rate is a function of the step. So weights, momentum and the epoch's number are the complete state.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.baseline_spec import BaselineSpec
from trainables.epoch_result import EpochResult
from trainables.loader import Augmentation, DeviceData, DeviceImages
from trainables.network_spec import NetworkSpec
from trainables.networks import Network, build_network
from trainables.peers import SINGLE_PROCESS, Peers
from trainables.settings import TrainingSettings
from trainables.transfer import InitialWeights
from trainables.weight_average import WeightAverage

MAX_SCORING_BATCH = 512


def scoring_batch(batch_size: int, parts: int) -> int:
    """Number of images to score at once in a process that trains on batches of `batch_size`, split into `parts`.

    Twice the size of a part. Scoring keeps nothing for a backward pass, so in all but the smallest networks an image
    takes less than half of the memory of training on it, and a network that can be trained can also be scored.
    """
    return min(MAX_SCORING_BATCH, max(1, 2 * batch_size // parts))


class Training:
    """One candidate's network, optimiser and position in the schedule.

    Args:
        spec: the network.
        settings: how to train it.
        data: the images, on the device to train on.
        seed: decides the initial weights, the order of the images, their augmentation and the dropped values.
        micro_batches: number of parts into which each batch is split; their gradients are added up. This needs the
            memory of one part and gives the step of the whole batch, except that batch norms use each part separately.
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
        micro_batches: int = 1,
        average_decay: float = 0.0,
        peers: Peers = SINGLE_PROCESS,
        compiled: bool = False,
        start: InitialWeights | None = None,
    ) -> None:
        peers.check_batch(min(settings.batch_size, len(data.train)))
        self.peers = peers
        self.compiled = compiled
        self.settings = settings
        self.micro_batches = micro_batches
        self.data = data
        self.seed = seed
        self.epoch = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(spec)
        if start is not None:
            start.prepare(network)
        self.is_frozen = start is not None and start.freeze
        self.network: Network = network.to(data.device).to(memory_format=torch.channels_last)
        all_logits = peers.wrap(_AllLogits(self.network))
        self._all_logits = torch.compile(all_logits) if compiled else all_logits
        self.average = WeightAverage(self.network, average_decay) if average_decay else None
        weights = [parameter for parameter in self.network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.network.parameters() if parameter.ndim <= 1]
        self.optimizer = torch.optim.SGD(
            [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,
            fused=True,
        )
        self.augmentation = Augmentation(crop_padding=settings.crop_padding, flip=settings.flip, cutout=settings.cutout)

    @property
    def scored(self) -> Network:
        """The network that is scored and saved: the weight average if there is one, else the trained network."""
        return self.network if self.average is None else self.average.network

    def train_epoch(self) -> EpochResult:
        """Train one epoch, then score on the validation images; the validation scores are NaN if there are none."""
        # Torchvision's models draw from the global generator.
        with torch.random.fork_rng([self.data.device] if self.data.device.type == "cuda" else []):
            torch.manual_seed(_epoch_seed(self.seed, self.epoch) + self.peers.rank)
            return self._train_epoch()

    def _train_epoch(self) -> EpochResult:
        started = time.perf_counter()
        settings, network = self.settings, self.network
        generator = torch.Generator(self.data.device).manual_seed(_epoch_seed(self.seed, self.epoch))
        network.train(not self.is_frozen)
        network.regularisation.generator = self._dropping_generator(generator)
        steps = max(1, len(self.data.train) // settings.batch_size)
        loss_sum = torch.zeros((), device=self.data.device)
        hits = torch.zeros((), device=self.data.device)
        images_seen = 0
        rate = settings.learning_rate
        batches = self.data.train.shuffled(settings.batch_size, self.augmentation, generator)
        for step, (all_images, all_labels) in enumerate(batches):
            images, labels = self.peers.part(all_images), self.peers.part(all_labels)
            progress = (self.epoch + step / steps) / settings.epochs
            network.regularisation.progress = progress
            rate = learning_rate(settings, progress)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.zero_grad(set_to_none=True)
            for part, answers in zip(images.chunk(self.micro_batches), labels.chunk(self.micro_batches), strict=True):
                with self._autocast():
                    logits, auxiliary = self._all_logits(part)
                    loss = F.cross_entropy(logits, answers, label_smoothing=settings.label_smoothing)
                    objective = loss
                    if auxiliary is not None:
                        objective = loss + settings.auxiliary_weight * F.cross_entropy(
                            auxiliary, answers, label_smoothing=settings.label_smoothing
                        )
                (objective * (len(answers) / len(labels))).backward()
                loss_sum += loss.detach() * len(answers)
                hits += (logits.detach().argmax(dim=1) == answers).sum()
            if settings.gradient_clip:
                torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip, foreach=True)
            self.optimizer.step()
            if self.average is not None:
                self.average.update(network)
            images_seen += len(all_labels)
        train_loss, train_hits = self.peers.sum(torch.stack([loss_sum, hits])).tolist()  # waits for the device
        train_seconds = time.perf_counter() - started
        val_loss, val_accuracy = self.validate()
        self.epoch += 1
        return EpochResult(
            epoch=self.epoch,
            train_loss=train_loss / images_seen,
            train_accuracy=train_hits / images_seen,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - started,
            images_per_second=images_seen / train_seconds,
            ended_at=time.time(),
        )

    def validate(self) -> tuple[float, float]:
        """Score the validation images in the first process, and return its result in all of them; see `score`."""
        scores = self.score(self.data.validation) if self.peers.is_first else (math.nan, math.nan)
        val_loss, val_accuracy = self.peers.broadcast(scores, self.data.device)
        return val_loss, val_accuracy

    def score(self, part: DeviceImages) -> tuple[float, float]:
        """Mean cross-entropy (without label smoothing) and accuracy over the images; NaN if there are none."""
        if not len(part):
            return math.nan, math.nan
        network = self.scored.eval()
        loss_sum = torch.zeros((), device=self.data.device)
        hits = torch.zeros((), device=self.data.device)
        at_once = scoring_batch(self.settings.batch_size, self.micro_batches * self.peers.count)
        with torch.inference_mode(), self._autocast():
            for images, labels in part.in_order(at_once):
                logits = network(images)
                loss_sum += F.cross_entropy(logits, labels, reduction="sum")
                hits += (logits.argmax(dim=1) == labels).sum()
        return loss_sum.item() / len(part), hits.item() / len(part)

    def state(self) -> dict[str, Tensor]:
        """Weights, their average, momentum and epoch, by name: enough for `load_state` to continue bit for bit."""
        state = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            momentum = self.optimizer.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                state[f"momentum.{name}"] = momentum
        if self.average is not None:
            state |= {f"average.{name}": value for name, value in self.average.state().items()}
        return {**state, "epoch": torch.tensor(self.epoch)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a result of `state`. The seed and the settings must be the same."""
        self.network.load_state_dict(select_prefix(state, "network."))
        if self.average is not None:
            self.average.load_state(select_prefix(state, "average."))
        for name, parameter in self.network.named_parameters():
            momentum = state.get(f"momentum.{name}")
            if momentum is None:
                self.optimizer.state.pop(parameter, None)
            else:
                # In the parameter's memory layout, so that the next step is the same bit for bit.
                self.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)
        self.epoch = int(state["epoch"])

    def _dropping_generator(self, generator: torch.Generator) -> torch.Generator | None:
        """The generator of the dropped values.

        All processes draw the same order of images from `generator`, but each drops other values.
        """
        if self.compiled:  # a compiled graph can only use torch's global generator
            return None
        if self.peers.count == 1:
            return generator
        seed = _epoch_seed(self.seed, self.epoch) + 1 + self.peers.rank
        return torch.Generator(self.data.device).manual_seed(seed)

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        """Autocast to bfloat16 on GPUs that support it natively, else a no-op.

        GPUs before Ampere only emulate bfloat16. On a CPU the backward pass of large depthwise kernels is slow in it.
        """
        if self.data.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.autocast("cuda", torch.bfloat16)
        return contextlib.nullcontext()


class _AllLogits(nn.Module):
    """`network.all_logits` as a `forward`, the only method that wrappers of modules replace."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.network.all_logits(images)


def select_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with the prefix, which is removed from their names."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def learning_rate(settings: TrainingSettings, progress: float) -> float:
    """The learning rate at `progress` (0..1) of the training."""
    if settings.schedule == "constant":
        return settings.learning_rate
    cosine = 0.5 * (1 + math.cos(math.pi * _cycle_progress(settings, progress)))
    return settings.learning_rate_end + (settings.learning_rate - settings.learning_rate_end) * cosine


def _cycle_progress(settings: TrainingSettings, progress: float) -> float:
    """Progress within the current cosine (0..1)."""
    if not settings.restart_epochs:
        return progress
    # Rounded, so that the first step of a cycle does not count as the end of the previous one.
    epochs, length = round(progress * settings.epochs, 9), settings.restart_epochs
    while epochs >= length:
        epochs -= length
        length *= 2
    return epochs / length


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
