from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import NASNET_A
from trainables.baseline_spec import BaselineSpec
from trainables.baselines import BaselineNetwork, baseline_names
from trainables.costs import network_costs
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec


def baseline(name: str, side: int, channels: int = 3, classes: int = 10) -> BaselineNetwork:
    torch.manual_seed(0)
    return BaselineNetwork(
        BaselineSpec(baseline=name, classes=classes, image_channels=channels, image_size=(side, side))
    )


def test_the_textbook_network_has_its_parameters() -> None:
    network = baseline("two_convolutions", 28, channels=1)
    by_hand = (9 + 1) * 32 + (32 * 9 + 1) * 64 + (64 * 5 * 5 + 1) * 64 + (64 + 1) * 10
    assert network.parameters_count == by_hand
    assert network.macs == 26 * 26 * 32 * 9 + 11 * 11 * 64 * 32 * 9 + 1600 * 64 + 64 * 10


def test_resnet_18_has_its_published_costs() -> None:
    """torchvision's table: 11,689,512 parameters and 1.81 GFLOPS, meaning multiply-adds."""
    network = baseline("resnet18", 224, classes=1000)
    assert (network.parameters_count, network.macs) == (11_689_512, 1_814_073_344)
    assert network.input_size == (224, 224)


@pytest.mark.parametrize(
    ("name", "side", "taken"),
    [
        ("resnet18", 8, 8),
        ("two_convolutions", 8, 16),
        ("alexnet", 32, 64),
        ("densenet121", 28, 56),
        ("mobilenet_v3_small", 32, 32),
    ],
)
def test_images_that_are_too_small_are_enlarged_as_little_as_possible(name: str, side: int, taken: int) -> None:
    network = baseline(name, side)
    assert network.input_size == (taken, taken)
    seen: list[torch.Size] = []
    network.model.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    assert network(torch.rand(2, 3, side, side)).shape == (2, 10)
    assert seen == [(2, 3, taken, taken)]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_the_first_convolution_is_adapted_to_the_channels_and_keeps_its_variance(channels: int) -> None:
    network, original = baseline("resnet18", 32, channels), baseline("resnet18", 32)
    first, before = (
        next(module for module in one.modules() if isinstance(module, nn.Conv2d)) for one in (network, original)
    )
    images = torch.randn(8, channels, 32, 32, generator=torch.Generator().manual_seed(0))
    colour = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert first(images).std().item() == pytest.approx(before(colour).std().item(), rel=0.15)
    assert first.weight.shape[1] == first.in_channels == channels
    if channels == 3:
        assert torch.equal(first.weight, before.weight)
    assert network(images).shape == (8, 10)


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(ValueError, match="'resnet19' is not a baseline"):
        baseline("resnet19", 32)
    assert {"two_convolutions", "resnet18", "mobilenet_v3_small", "alexnet"} <= set(baseline_names())
    assert not any("rcnn" in name or name.startswith("quantized") for name in baseline_names())


def test_inception_and_googlenet_have_no_auxiliary_heads() -> None:
    assert baseline("googlenet", 32)(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_cells_and_baselines_are_counted_in_the_same_way() -> None:
    """The count from a plan equals the count of the built network, by which baselines are counted."""
    spec = NetworkSpec(architecture=NASNET_A, repeats=1, filters=4, classes=10, image_channels=3, image_size=(32, 32))
    network = CellNetwork(spec)
    state = {name: torch.empty_like(value, device="meta") for name, value in network.state_dict().items()}
    with FlopCounterMode(display=False) as counter:
        functional_call(network, state, (torch.empty(2, 3, 32, 32, device="meta"),))
    assert counter.get_total_flops() / 4 == network_costs(spec).macs


def test_spec_json_round_trip() -> None:
    spec = BaselineSpec(baseline="resnet18", classes=3, image_channels=1, image_size=(8, 9))
    assert BaselineSpec.from_json(spec.to_json()) == spec
    with pytest.raises(ValueError, match="not a baseline"):
        BaselineSpec.from_json({"baseline": "resnet18"})
