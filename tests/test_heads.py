"""Decoders: equal to plain PyTorch on the feature maps of a backbone, and their exact costs."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.kept_tensors import kept_for_backward
from tests.trained import small_spec
from trainables.costs import network_costs
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec
from trainables.skeleton import SKELETONS

SPEC = replace(small_spec(), classes=3, image_channels=3, image_size=(12, 16), head="skip")


class Plain(nn.Module):
    """Decoders in plain PyTorch, on the feature maps of a backbone."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.backbone = CellNetwork(spec, features_only=True)
        *finer, last = self.backbone.feature_channels

        def to_masks(channels: int, width: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width, spec.skeleton.operations.batch_norm_epsilon),
                nn.ReLU(),
                nn.Conv2d(width, spec.classes, 1),
            )

        def lateral(channels: int) -> nn.Sequential:
            epsilon = spec.skeleton.operations.batch_norm_epsilon
            norm = nn.BatchNorm2d(spec.filters, epsilon)
            return nn.Sequential(nn.Conv2d(channels, spec.filters, 1, bias=False), norm)

        if spec.head == "fcn":
            self.laterals = nn.ModuleList()
            self.to_masks = to_masks(last, last // 4)
        else:
            self.laterals = nn.ModuleList(lateral(channels) for channels in (last, *reversed(finer)))
            self.to_masks = to_masks(spec.filters, spec.filters)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.backbone(images)[::-1]
        found = maps[0]
        if len(self.laterals):
            found = self.laterals[0](found)
            for layers, finer in zip(self.laterals[1:], maps[1:], strict=True):
                found = layers(finer.relu()) + F.interpolate(found, finer.shape[2:], mode="bilinear")
            found = found.relu()
        return F.interpolate(self.to_masks(found), images.shape[2:], mode="bilinear")


@pytest.mark.parametrize("head", ["fcn", "skip"])
@pytest.mark.parametrize("skeleton", ["nasnet_cifar", "nasnet_mobile", "darts_imagenet", "nas_bench_201"])
def test_a_network_is_a_backbone_with_a_plain_decoder_and_its_costs_are_exact(head: str, skeleton: str) -> None:
    spec = replace(SPEC, head=head, skeleton=SKELETONS[skeleton], filters=8, image_size=(37, 50))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, plain = CellNetwork(spec), Plain(spec)
    images = torch.randn(2, 3, 37, 50, generator=torch.Generator().manual_seed(0))
    costs = network_costs(spec)
    assert costs.activation_bytes == kept_for_backward(network, images) / 2
    taken = list(network.eval().state_dict().values())
    assert [value.shape for value in taken] == [value.shape for value in plain.state_dict().values()]
    plain.load_state_dict(OrderedDict(zip(plain.state_dict(), taken, strict=True)))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = network(images[:1])
    assert isinstance(logits, Tensor)
    assert costs.macs == counter.get_total_flops() / 2
    assert costs.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert logits.shape == (1, 3, 37, 50)
    torch.testing.assert_close(logits, plain.eval()(images[:1]), rtol=1e-4, atol=1e-5)
    for one in (network, plain):
        one.train()
        one(images).square().mean().backward()
    last, plain_last = (list(one.named_parameters())[-2:] for one in (network, plain))
    assert last[-1][0].endswith("bias")  # of the classifier of each pixel
    for (_, ours), (_, theirs) in zip(last, plain_last, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_a_decoder_takes_no_auxiliary_head_and_has_a_name() -> None:
    with pytest.raises(ValueError, match="needs the head 'classifier', not 'fcn'; set training.auxiliary_weight = 0"):
        CellNetwork(replace(SPEC, head="fcn", auxiliary_head=True))
    with pytest.raises(ValueError, match="head is 'unet'; known: classifier, fcn, skip"):
        network_costs(replace(SPEC, head="unet"))
    assert NetworkSpec.from_json(json.loads(json.dumps(SPEC.to_json()))) == SPEC
