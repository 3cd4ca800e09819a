"""Custom operations, and a space that names them, for `examples/own_operation.toml`.

An operation is a function that returns layers, from `in_channels` to `filters` channels. One of them may be a
`TorchModule`, a PyTorch module with its costs. A space names the function as `module:NAME`.
"""

from functools import partial

from cellscout import CellSpace, Convolution, Relu, TorchModule, batch_norm, pointwise

FLOAT_BYTES = 4


def inverted_bottleneck(in_channels, filters, *, stride, rules):
    """1x1 convolution to twice the channels, 3x3 depthwise and 1x1 convolution (Sandler et al. 2018)."""
    wide = 2 * in_channels
    depthwise = Convolution(wide, wide, 3, padding=rules.padding, stride=stride, groups=wide)
    widen, narrow = pointwise(in_channels, wide, rules), pointwise(wide, filters, rules)
    return (Relu(), *widen, Relu(), depthwise, batch_norm(wide, rules), Relu(), *narrow)


def channel_attention(in_channels, filters, *, stride, rules):
    """1x1 convolution, then squeeze and excitation (Hu et al. 2018), which is a PyTorch module."""
    hidden = max(1, filters // 4)
    attention = TorchModule(
        make=partial(_attention, filters, hidden),
        channels=filters,
        parameters=(filters + 1) * hidden + (hidden + 1) * filters,
        macs=lambda size: 2 * filters * hidden,
        # Kept for the backward pass: the image, its means, the hidden features, and the factors of the channels.
        activation_bytes=lambda size: FLOAT_BYTES * (filters * size[0] * size[1] + 2 * filters + hidden),
    )
    return (Relu(), *pointwise(in_channels, filters, rules, stride=stride), attention)


def _attention(filters, hidden):
    from torch import nn  # here, because the driver imports this module without needing torch

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            squeeze = (nn.AdaptiveAvgPool2d(1), nn.Conv2d(filters, hidden, 1), nn.ReLU())
            self.factors = nn.Sequential(*squeeze, nn.Conv2d(hidden, filters, 1), nn.Sigmoid())

        def forward(self, images):
            return images * self.factors(images)

    return Attention()


SPACE = CellSpace(
    name="own_operations",
    source="this file",
    operations=(
        "identity",
        "max_pool_3x3",
        "own_operation:inverted_bottleneck",
        "own_operation:channel_attention",
    ),
    blocks=2,
    shared=True,
)
