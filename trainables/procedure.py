"""How a network is trained, as one class whose methods can be overridden.

The driver reads a procedure's metrics, so importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainables.schedule import learning_rate
from trainables.settings import TrainingSettings, did_you_mean
from trainables.tasks.task import Task

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Parameter
    from torch.optim import Optimizer


class TrainingProcedure:
    """The procedure of `[training]`: SGD, a cosine, the task's loss. Derive from it, and override what is to differ.

    `CellTrainable.procedure` is the class. A search, the confirmation of its winner, `evaluate` and `retrain` use it.

    Args:
        settings: the search's `[training]`.
        classes: number of classes.
        task: what is learned.

    Raises:
        TypeError: a derived class has a method whose name is nearly that of one that it could override.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Beside an own `loss`, a `dice_loss` is a helper of it.
        kept = [name for name in public_names() if getattr(cls, name) is getattr(TrainingProcedure, name)]
        methods = [name for name, value in vars(cls).items() if callable(value) and not name.startswith("_")]
        for name in methods:
            if name not in public_names() and (hint := did_you_mean(name, kept)):
                raise TypeError(
                    f"{cls.__name__}.{name} overrides nothing of TrainingProcedure{hint} (the name of a helper can "
                    "begin with an underscore)"
                )

    metrics: tuple[str, ...] = ()
    """Names of what `measure` returns. They are recorded, and can be objectives."""

    capturable: bool = True
    """Whether a step can be replayed as a CUDA graph: all that changes from one step to the next is in tensors, random
    numbers come from `generator`, and nothing waits for the device. A derived class has to say so again; otherwise its
    steps are eager."""

    def __init__(self, settings: TrainingSettings, classes: int, task: Task) -> None:
        self.settings = settings
        self.classes = classes
        self.task = task

    def optimizer(self, weights: Sequence[Parameter], others: Sequence[Parameter], learning_rate: Tensor) -> Optimizer:
        """Make the optimiser.

        Args:
            weights: those of convolutions, linear layers and embeddings.
            others: biases, and the scales and shifts of batch norms.
            learning_rate: a tensor with one number, which the training sets before each step; pass it on as `lr`.
        """
        import torch

        settings = self.settings
        return torch.optim.SGD(
            [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=learning_rate,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,
            fused=True,
        )

    def learning_rate(self, progress: float) -> float:
        """Return the learning rate at `progress` (0..1) of the training."""
        return learning_rate(self.settings, progress)

    def augment(self, images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Change a batch after it was cropped, mirrored and cut out; here, not at all.

        Args:
            images: float32 [n, channels, *size], with mean 0 and deviation 1; for texts, tokens int64 [n, length].
            labels: int64 [n].
            generator: for random numbers, so that a resume draws the same ones. It is on the device of the images.

        Returns:
            The images, and labels [n] or probabilities of the classes [n, classes].
        """
        return images, labels

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch of training images; `labels` are those that `augment` returned."""
        return self.task.loss(logits, labels, self.settings)

    def measure(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the sum of each metric over a batch of validation images; its mean over all images is recorded."""
        return {}


def public_names() -> list[str]:
    """What a procedure can override."""
    return [name for name in vars(TrainingProcedure) if not name.startswith("_")]
