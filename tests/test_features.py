"""Networks as backbones: feature maps of every stage, for every skeleton and image size."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from search_spaces import NASNET, SPACES
from trainables.network import CellNetwork
from trainables.network_plan import plan_network
from trainables.network_spec import NetworkSpec
from trainables.skeleton import NASNET_CIFAR, NASNET_MOBILE, SKELETONS
from trainables.transfer import load_weights

STRIDES = {
    "convolution": (1, 2, 4),
    "strided": (2, 4, 8, 16, 32),
    "three_strided": (4, 8, 16, 32),
}
"""By stem. All skeletons with the stem of stride 2 have two reduction cells in the stem."""


def spec_of(skeleton: str, size: tuple[int, int] = (33, 47), **values: Any) -> NetworkSpec:
    """A network with cells from a space of this skeleton, or from NASNET if there is none."""
    space = next((space for space in SPACES.values() if space.skeleton == skeleton), NASNET)
    cells = space.sample(np.random.default_rng(1))
    wanted = {"architecture": cells, "skeleton": SKELETONS[skeleton], "repeats": 2, "filters": 8, "classes": 5}
    return NetworkSpec(**{**wanted, "image_size": size, **values})


def images(size: tuple[int, int]) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def classifier_and_backbone(spec: NetworkSpec) -> tuple[CellNetwork, CellNetwork]:
    """A classifying network and a backbone with the same weights, and with changed running statistics."""
    torch.manual_seed(0)
    network = CellNetwork(spec)
    for name, value in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    backbone = CellNetwork(spec, features_only=True)
    load_weights(backbone, network.state_dict())
    return network.eval(), backbone.eval()


@pytest.mark.parametrize("skeleton", SKELETONS)
@pytest.mark.parametrize("size", [(64, 64), (33, 47), (75, 40)])
def test_channels_strides_and_sizes_match_the_attributes(skeleton: str, size: tuple[int, int]) -> None:
    spec = spec_of(skeleton, size)
    backbone = CellNetwork(spec, features_only=True)
    rules = SKELETONS[skeleton]
    assert backbone.feature_strides == STRIDES[rules.stem][: None if rules.stages == 3 else rules.stages]
    maps = backbone(images(size))
    assert [tuple(one.shape) for one in maps] == [
        (2, stage.shape.channels, *stage.shape.size) for stage in plan_network(spec).stages
    ]
    for one, channels, stride in zip(maps, backbone.feature_channels, backbone.feature_strides, strict=True):
        assert one.shape[1] == channels
        for side, whole in zip(one.shape[2:], size, strict=True):
            assert 0 <= -(-whole // stride) - side <= (SKELETONS[skeleton].stem == "strided")


@pytest.mark.parametrize("skeleton", SKELETONS)
def test_a_map_is_the_last_state_before_the_resolution_falls(skeleton: str) -> None:
    """Compares with the outputs of the stem and the cells of the classifying network."""
    network, backbone = classifier_and_backbone(spec_of(skeleton))
    chain: list[Any] = []
    for part in [*network.stem, *network.cells]:  # a row of the stem gives a tensor, and a cell a state
        part.register_forward_hook(lambda _, __, output: chain.append(getattr(output, "value", output)))
    network(images((33, 47)))
    sizes = [one.shape[2:] for one in chain]
    last = [one for one, size, following in zip(chain, sizes, [*sizes[1:], None], strict=True) if size != following]
    maps = backbone(images((33, 47)))
    assert len(maps) == len(last)
    assert all(torch.equal(one, other) for one, other in zip(maps[:-1], last[:-1], strict=True))


@pytest.mark.parametrize("skeleton", SKELETONS)
def test_averaging_and_classifying_the_last_map_gives_the_logits(skeleton: str) -> None:
    network, backbone = classifier_and_backbone(spec_of(skeleton, dropout=0.3))
    for size in [(33, 47), (40, 36)]:
        last = backbone(images(size))[-1]
        torch.testing.assert_close(network.head[-1](last.mean(dim=(2, 3))), network(images(size)))


@pytest.mark.parametrize("skeleton", SKELETONS)
def test_gradients_reach_every_weight_from_the_maps(skeleton: str) -> None:
    backbone = CellNetwork(spec_of(skeleton, auxiliary_head=True, size=(64, 64)), features_only=True)
    twin = CellNetwork(spec_of(skeleton))
    maps = backbone(images((64, 64)))
    torch.stack([(one * torch.randn(one.shape)).sum() for one in maps]).sum().backward()
    twin(images((64, 64))).square().sum().backward()
    reached = {name for name, weight in twin.named_parameters() if weight.grad is not None}
    assert {name for name, weight in backbone.named_parameters() if weight.grad is not None} >= {
        name for name in reached if not name.startswith(f"head.{len(twin.head) - 1}.")
    }


def test_a_backbone_has_no_classifier_and_no_auxiliary_head() -> None:
    spec = spec_of("nasnet_cifar", auxiliary_head=True)
    names, others = (
        set(network.state_dict()) for network in (CellNetwork(spec, features_only=True), CellNetwork(spec))
    )
    assert {name.split(".")[0] for name in others - names} == {"head", "auxiliary"}
    assert names < others
    assert list(CellNetwork(spec_of("nas_bench_201"), features_only=True).head.state_dict()) == [
        "0.weight",
        "0.bias",
        "0.running_mean",
        "0.running_var",
        "0.num_batches_tracked",
    ]


def test_the_last_map_is_rectified_only_if_the_classifier_rectifies_it() -> None:
    lows = {
        name: [one.min() < 0 for one in CellNetwork(spec_of(name), features_only=True)(images((32, 32)))]
        for name in SKELETONS
    }
    assert not any(lows[name][-1] for name in SKELETONS if SKELETONS[name].before_pooling != "nothing")
    assert all(all(low) for name, low in lows.items() if SKELETONS[name].before_pooling == "nothing")


@pytest.mark.parametrize("skeleton", [NASNET_CIFAR, NASNET_MOBILE], ids=["cifar", "mobile"])
def test_torchvisions_feature_pyramid_takes_the_maps(skeleton: Any) -> None:
    backbone = CellNetwork(
        NetworkSpec(
            architecture=NASNET.sample(np.random.default_rng(0)), skeleton=skeleton, repeats=1, filters=8, classes=2
        ),
        features_only=True,
    )
    pyramid = FeaturePyramidNetwork(backbone.feature_channels, 16)
    assert isinstance(pyramid, nn.Module)
    maps = backbone(images((61, 50)))
    levels = pyramid(OrderedDict((str(number), one) for number, one in enumerate(maps)))
    assert [one.shape for one in levels.values()] == [(2, 16, *one.shape[2:]) for one in maps]
