"""A custom trainable for `examples/own_trainable.toml`: scores networks without training them.

A linear classifier is fitted to the untrained network's outputs, and its accuracy on the validation images is the
score. A trainable derives from `EpochTrainable`; this one gives the same scores in every epoch.
"""

import time
from dataclasses import replace

import numpy as np

from cellscout import EpochResult, EpochTrainable

FEATURES = 64


class UntrainedTrainable(EpochTrainable):
    """Also reports the metric `margin`, of the right class over the best other one, which can be an objective."""

    metrics = ("margin",)

    def prepare(self, data):
        self.splits = data

    def begin(self, architecture):
        import torch  # here, because the driver imports this module without needing torch

        from cellscout import CellNetwork

        torch.manual_seed(self.plan.seed)
        self.network = CellNetwork(replace(self.plan.network_spec(architecture), classes=FEATURES))
        self.epoch = 0
        return {"device": "cpu"}

    def train_epoch(self):
        from sklearn.linear_model import RidgeClassifier

        started = time.time()
        self.epoch += 1
        (train, train_labels), (validation, labels) = map(self._features, (self.splits.train, self.splits.validation))
        classifier = RidgeClassifier().fit(train, train_labels)
        scores = classifier.decision_function(validation)
        right = scores[np.arange(len(labels)), labels]
        scores[np.arange(len(labels)), labels] = -np.inf
        seconds = time.time() - started
        return EpochResult(
            epoch=self.epoch,
            train_loss=0.0,
            train_accuracy=classifier.score(train, train_labels),
            val_loss=0.0,
            val_accuracy=classifier.score(validation, labels),
            learning_rate=0.0,
            seconds=seconds,
            images_per_second=len(train) / seconds,
            ended_at=time.time(),
            metrics={"margin": float((right - scores.max(axis=1)).mean())},
        )

    def _features(self, part):
        import torch

        images = torch.tensor(part.images, dtype=torch.float32).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            # Training mode makes batch norms use the images' statistics; they have no learned ones.
            return self.network.train()(images).numpy(), part.labels

    def weights(self):
        from safetensors.torch import save

        return save({name: value.contiguous() for name, value in self.network.state_dict().items()})
