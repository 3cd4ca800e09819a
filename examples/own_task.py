"""A task for `examples/own_task.toml`: regression. How many dots does a picture show?

Half a dot off is a better answer than five, so the loss is the squared error, and the score is the share of the
variance of the counts that the network explains (R squared; 0 if it explains none).
"""

import numpy as np

from cellscout import DataSource, ImageArrays, Score, Task

SIDE, MOST = 24, 9


def dots(settings):
    """Pictures of 0 to 9 bright dots of 3x3 pixels on noise, and their number."""
    generator = np.random.default_rng(settings.options.get("seed", 0))
    counts = generator.integers(0, MOST + 1, settings.options.get("count", 2000))
    images = generator.integers(0, 128, (len(counts), SIDE, SIDE, 1), np.uint8)
    for image, count in zip(images, counts, strict=True):
        for place in generator.choice((SIDE // 4) ** 2, count, replace=False):  # in cells of 4x4, so none overlap
            row, column = (4 * int(axis) for axis in divmod(place, SIDE // 4))
            image[row : row + 3, column : column + 3] = 255
    return DataSource(train=ImageArrays(images, counts[:, None].astype(np.float32)), classes=("dots",))


def squared_error(outputs, answers, settings):
    return (outputs - answers).square().mean()


def error_sums(outputs, answers):
    import torch  # here, because the driver imports this module without needing torch

    return torch.stack([(outputs - answers).square().sum(), answers.sum(), answers.square().sum()])


def explained(sums, count):
    errors, total, squares = sums.tolist()
    return max(0.0, 1 - errors / (squares - total**2 / count))


COUNTING = Task(
    data_sets={"dots": dots},
    outputs="numbers",
    loss=squared_error,
    loss_sum=lambda outputs, answers: (outputs - answers).square().sum(),
    score=Score(name="explained variance", shape=lambda outputs: (3,), sums=error_sums, value=explained),
    unused=("training.label_smoothing", "training.class_weights"),
)
