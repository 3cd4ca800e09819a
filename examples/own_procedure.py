"""A training procedure for `examples/own_procedure.toml`: AdamW, a warm-up, mixup and one more metric.

Mixup (Zhang et al. 2018) trains on weighted means of two images and of their labels.
"""

from cellscout import CellTrainable, TrainingProcedure

WARM_UP = 0.1
"""Share of the training in which the learning rate grows to its full value."""


class Mixup(TrainingProcedure):
    """Overrides what differs from `[training]`; each method can be overridden alone."""

    metrics = ("in_two_best",)
    capturable = True  # random numbers come from `generator`, and nothing waits for the device

    def optimizer(self, weights, others, learning_rate):
        import torch  # here, because the driver imports this module without needing torch

        decay = self.settings.weight_decay
        groups = [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=learning_rate, capturable=learning_rate.is_cuda)

    def learning_rate(self, progress):
        return super().learning_rate(progress) * min(1.0, (progress + 0.01) / WARM_UP)

    def augment(self, images, labels, generator):
        import torch
        import torch.nn.functional as F

        def drawn(*shape):
            return torch.rand(*shape, generator=generator, device=images.device)

        share, partners = drawn(1), drawn(len(images)).argsort()
        answers = F.one_hot(labels, self.classes).float()
        return torch.lerp(images[partners], images, share), torch.lerp(answers[partners], answers, share)

    def measure(self, logits, labels):
        return {"in_two_best": (logits.topk(2).indices == labels[:, None]).any(dim=1).sum()}


class MixupTrainable(CellTrainable):
    """The built-in trainable with this procedure."""

    procedure = Mixup
