"""What `tasks.py` trains beside cell networks: the textbooks' network for texts; and the optimiser for texts.

A module of its own, because the workers of a search import it by its name.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.cell_trainable import CellTrainable
from trainables.datasets import DataSplits
from trainables.folds import merge_validation
from trainables.layers import PADDING
from trainables.procedure import TrainingProcedure
from trainables.settings import TrainingSettings
from trainables.tasks.texts import TEXTS

TEXTBOOK = "CNN-rand (Kim 2014)"
VECTOR, WIDTHS, CHANNELS, DROPOUT = 300, (3, 4, 5), 100, 0.5


class AdamW(TrainingProcedure):
    """AdamW instead of SGD, which hardly moves the vectors of rare words."""

    def optimizer(
        self, weights: Sequence[nn.Parameter], others: Sequence[nn.Parameter], learning_rate: Tensor
    ) -> torch.optim.Optimizer:
        """See `TrainingProcedure`."""
        decay = self.settings.weight_decay
        groups = [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=learning_rate)


class AdamWTrainable(CellTrainable):
    """The built-in trainable with `AdamW`."""

    procedure = AdamW


class TextbookNetwork(nn.Module):
    """CNN-rand (Kim 2014, section 2): convolutions over three, four and five words, and the maximum over the text."""

    def __init__(self, tokens: int, classes: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(tokens, VECTOR, padding_idx=PADDING)
        with torch.no_grad():  # as in the paper's code; with PyTorch's vectors it is four points worse
            self.vectors.weight.uniform_(-0.25, 0.25)[PADDING] = 0
        self.convolutions = nn.ModuleList(nn.Conv1d(VECTOR, CHANNELS, width, padding=width - 1) for width in WIDTHS)
        self.classifier = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(CHANNELS * len(WIDTHS), classes))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [batch, length] to logits [batch, classes]."""
        vectors = self.vectors(tokens).transpose(1, 2)
        found = [convolution(vectors).relu().amax(dim=2) for convolution in self.convolutions]
        logits: Tensor = self.classifier(torch.cat(found, dim=1))
        return logits


@dataclass
class TextbookTraining:
    """Trains the network on all texts but the test's, with the optimiser and the schedule of the cell networks."""

    splits: DataSplits
    settings: TrainingSettings
    seed: int

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        merged = merge_validation(self.splits)
        self.texts, self.labels = _tensors(merged.train.images, merged.train.labels)
        self.network = TextbookNetwork(self.splits.reading.tokens or 0, len(self.splits.classes))
        self.procedure = AdamW(self.settings, len(self.splits.classes), TEXTS)
        self.rate = torch.tensor(self.settings.learning_rate)
        self.optimizer = self.procedure.optimizer(list(self.network.parameters()), [], self.rate)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def train(self) -> float:
        """Train to the end; return the seconds."""
        began, epochs, size = time.perf_counter(), self.settings.epochs, self.settings.batch_size
        steps, step = epochs * math.ceil(len(self.texts) / size), 0
        self.network.train()
        for _ in range(epochs):
            for chosen in torch.randperm(len(self.texts)).split(size):
                self.rate.fill_(self.procedure.learning_rate(step / steps))
                self.optimizer.zero_grad()
                self.procedure.loss(self.network(self.texts[chosen]), self.labels[chosen]).backward()
                self.optimizer.step()
                step += 1
        return time.perf_counter() - began

    @torch.inference_mode()
    def accuracy(self) -> float:
        """Accuracy on the test texts."""
        texts, labels = _tensors(self.splits.test.images, self.splits.test.labels)
        return float((self.network.eval()(texts).argmax(dim=1) == labels).float().mean())


def _tensors(texts: object, labels: object) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(texts)[..., 0].long(), torch.as_tensor(labels)
