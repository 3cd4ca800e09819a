"""One step of a training, and the scoring of one batch: functions of tensors that stay where they are.

So a GPU can replay each as one graph (`cuda_graph.py`), and a CPU calls the same code. Nothing here waits for the
device. Does not know epochs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from trainables.build_network import Network
from trainables.half_weights import HalfWeights
from trainables.loader import Augmentation, DeviceImages
from trainables.peers import Peers
from trainables.procedure import TrainingProcedure
from trainables.settings import TrainingSettings


def half_precision(device: torch.device) -> torch.dtype | None:
    """The data type of 16 bits to train in on this device; None: train in float32.

    GPUs before Ampere only emulate bfloat16, so they use float16. On a CPU both are slower than float32.
    """
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def autocast(device: torch.device, dtype: torch.dtype | None) -> contextlib.AbstractContextManager[None]:
    """Autocast to `dtype`; with None, a no-op."""
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)


@final
class TrainingStep:
    """One step of the optimiser on the images that `place` chose.

    Args:
        network: the network to train, on its device.
        images: the training images, on the same device.
        settings: how to train.
        procedure: the optimiser, the augmentation and the loss.
        generator: decides the augmentation.
        peers: the processes that train the network together.
        micro_batches: number of parts into which each batch is split.
        compiled: whether to run the network with `torch.compile`.
        half: the data type of autocast; None: none.
    """

    def __init__(
        self,
        network: Network,
        images: DeviceImages,
        settings: TrainingSettings,
        *,
        procedure: TrainingProcedure,
        generator: torch.Generator,
        peers: Peers,
        micro_batches: int,
        compiled: bool,
        half: torch.dtype | None,
    ) -> None:
        self.batch_size = min(settings.batch_size, len(images))
        self._network, self._images, self._settings, self._procedure = network, images, settings, procedure
        self._generator, self._peers, self._micro_batches, self._half = generator, peers, micro_batches, half
        self._device = device = images.images.device
        self._augmentation = Augmentation(
            crop_padding=settings.crop_padding, flip=settings.flip, cutout=settings.cutout
        )
        self._all_logits = _AllLogits(network)
        wrapped = peers.wrap(self._all_logits)
        self._wrapped = torch.compile(wrapped) if compiled else wrapped
        # Several parts add up their gradients, which 16 bits would round.
        self._can_halve = half is not None and micro_batches == 1 and peers.count == 1 and not compiled
        self._half_weights: HalfWeights | None = None
        # Small gradients are zero in float16, unless they are scaled; bfloat16 has the range of float32.
        self.scaler = torch.amp.GradScaler(device.type, enabled=half is torch.float16)

        self._indices = torch.zeros(self.batch_size, dtype=torch.int64, device=device)
        # The learning rate, then the probability of each drop path to keep an image.
        self._schedule = torch.zeros(1 + len(network.regularisation.keep_at(0)), device=device)
        network.regularisation.keep = self._schedule[1:]
        self.loss_sum = torch.zeros((), device=device)
        """Loss of all images since the sums were last set to zero."""
        self._score = procedure.task.score
        shape = self._score.shape(procedure.classes)
        self.score_sums = torch.zeros(shape, device=device, dtype=torch.float64)
        """Of the task's score, over the same images."""
        weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
        self.optimizer = procedure.optimizer(weights, others, self._schedule[0])

    def scheduled(self, rates: Sequence[float], progress: Sequence[float]) -> Tensor:
        """Put the learning rate and the progress (0..1) of each step into a table [steps, ...] for `place`."""
        keep_at = self._network.regularisation.keep_at
        rows = [[rate, *keep_at(at)] for rate, at in zip(rates, progress, strict=True)]
        return torch.tensor(rows, device=self._device)

    def place(self, indices: Tensor, scheduled: Tensor) -> None:
        """Choose the images of the next step and its row of the schedule."""
        self._indices.copy_(indices)
        self._schedule.copy_(scheduled)

    def run(self) -> None:
        """Take the step, and add to the sums."""
        batch = self._images.batch(self._indices, self._augmentation, self._generator)
        all_images, all_labels = self._procedure.augment(*batch, self._generator)
        images, labels = self._peers.part(all_images), self._peers.part(all_labels)
        self.optimizer.zero_grad(set_to_none=True)
        half_weights = self._refreshed()
        for part, answers in zip(
            images.tensor_split(self._micro_batches), labels.tensor_split(self._micro_batches), strict=True
        ):
            with autocast(self._device, self._half):
                logits, auxiliary = self._logits(part, half_weights)
                loss = self._procedure.loss(logits, answers)
                objective = loss
                if auxiliary is not None:
                    objective = loss + self._settings.auxiliary_weight * self._procedure.loss(auxiliary, answers)
            self.scaler.scale(objective * (len(answers) / len(labels))).backward()
            self.loss_sum += loss.detach() * len(answers)
            self.score_sums += self._score.sums(logits.detach(), answers)
        if half_weights is not None:
            half_weights.return_gradients()
        if self._settings.gradient_clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._network.parameters(), self._settings.gradient_clip, foreach=True)
        if self.scaler.is_enabled() and not self.optimizer.state:
            _begin_momentum(self.optimizer)  # only now, because pruning changes the network first
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _refreshed(self) -> HalfWeights | None:
        """The weights in 16 bits, as they are now; made at the first step, since pruning changes the network first."""
        if self._half is None or not self._can_halve:
            return None
        if self._half_weights is None:
            self._half_weights = HalfWeights(self._all_logits, self._half)
        self._half_weights.refresh()
        return self._half_weights

    def _logits(self, images: Tensor, half_weights: HalfWeights | None) -> tuple[Tensor, Tensor | None]:
        if half_weights is None:
            found: tuple[Tensor, Tensor | None] = self._wrapped(images)
            return found
        halved: tuple[Tensor, Tensor | None] = functional_call(self._all_logits, half_weights.copies, (images,))
        return halved


def _begin_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Set the momentum of SGD to zero, from which the first step makes the gradient.

    torch's fused SGD makes it of uninitialised memory at the first step, and leaves it so if the gradient overflows.
    """
    if isinstance(optimizer, torch.optim.SGD):
        for group in optimizer.param_groups:
            for parameter in group["params"] if group["momentum"] else ():
                if parameter.requires_grad:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


@final
class Scoring:
    """Adds up the loss and the score of a network in evaluation mode on images, batch by batch.

    Args:
        network: the network to score.
        images: the images, on the network's device.
        procedure: has the task, and further metrics that are added up too.
        batch_size: number of images in each batch but the last.
        half: the data type of autocast; None: none.
    """

    def __init__(
        self,
        network: Network,
        images: DeviceImages,
        *,
        procedure: TrainingProcedure,
        batch_size: int,
        half: torch.dtype | None,
    ) -> None:
        self.batch_size = batch_size
        self._network, self._images, self._procedure, self._half = network, images, procedure, half
        self._device = device = images.images.device
        self._indices = torch.zeros(batch_size, dtype=torch.int64, device=device)
        self.sums = torch.zeros(1 + len(procedure.metrics), device=device)
        """Over all images since they were last set to zero: the task's loss and the procedure's metrics."""
        self._task = procedure.task
        shape = self._task.score.shape(procedure.classes)
        self.score_sums = torch.zeros(shape, device=device, dtype=torch.float64)
        """Of the task's score, over the same images."""

    def place(self, indices: Tensor) -> None:
        """Choose the images of the next full batch."""
        self._indices.copy_(indices)

    def run(self) -> None:
        """Score the full batch, and add to the sums."""
        self.add(self._indices)

    @torch.inference_mode()
    def add(self, indices: Tensor) -> None:
        """Score these images, and add to the sums."""
        images, labels = self._images.at(indices)
        with autocast(self._device, self._half):
            logits = self._network(images)
            loss = self._task.loss_sum(logits, labels)
            metrics = self._procedure.measure(logits, labels)
        self.sums += torch.stack([value.float() for value in (loss, *self._in_order(metrics))])
        self.score_sums += self._task.score.sums(logits, labels)

    def _in_order(self, metrics: Mapping[str, Tensor]) -> list[Tensor]:
        if set(metrics) != set(self._procedure.metrics):
            name = type(self._procedure).__name__
            raise ValueError(
                f"{name}.measure returned {sorted(metrics)}; {name}.metrics declares {sorted(self._procedure.metrics)}"
            )
        return [metrics[name] for name in self._procedure.metrics]


class _AllLogits(nn.Module):
    """A module whose `forward` calls `network.all_logits`, because `DistributedDataParallel` wraps only `forward`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.network.all_logits(images)
