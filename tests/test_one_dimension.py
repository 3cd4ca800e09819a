"""Networks for sequences: their outputs and costs beside plain PyTorch's one-dimensional modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import Architecture, Block, Cell
from tests.cells import cells
from tests.kept_tensors import kept_for_backward
from trainables.costs import network_costs
from trainables.network import CellNetwork
from trainables.network_plan import plan_network
from trainables.network_spec import NetworkSpec
from trainables.operations import OPERATIONS, operations_for
from trainables.own_operations import build_operation
from trainables.skeleton import SKELETONS, OperationRules

LENGTH, CHANNELS, FILTERS, CLASSES = 19, 3, 8, 5
PAIRS = ("conv_1x3_3x1", "conv_1x7_7x1")


def spec_of(architecture: Architecture, **values: Any) -> NetworkSpec:
    defaults = {"repeats": 1, "filters": FILTERS, "classes": CLASSES, "image_channels": CHANNELS}
    return NetworkSpec(architecture=architecture, **{**defaults, "image_size": (LENGTH,), **values})


def counted_macs(network: nn.Module, length: int) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, CHANNELS, length))
    return int(counter.get_total_flops()) // 2


SMALL = Architecture(
    normal=Cell(
        (Block.add((0, "sep_conv_3x3"), (1, "max_pool_3x3")), Block.add((2, "dil_conv_3x3"), (1, "identity"))),
        (3,),
    ),
    reduction=Cell(
        (Block.add((0, "sep_conv_5x5"), (1, "conv_3x3")), Block.add((1, "avg_pool_3x3"), (2, "max_pool_2x2"))),
        (0, 3),
    ),
)


def around(length: int, reach: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME, written anew."""
    missing = max(0, (math.ceil(length / stride) - 1) * stride + reach - length)
    return missing // 2, missing - missing // 2


class Plain(nn.Module):
    """The network of `SMALL` with NASNet's rules, of PyTorch's modules alone, used and listed in the same order."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[nn.Module] = []
        self.forward_pass = self._network()

    def convolution(self, inside: int, out: int, kernel: int = 1, **options: Any) -> Callable[[Tensor], Tensor]:
        module = nn.Conv1d(inside, out, kernel, bias=False, **options)
        self.layers.append(module)
        reach = module.dilation[0] * (kernel - 1) + 1
        return lambda values: module(F.pad(values, around(values.shape[2], reach, module.stride[0])))

    def norm(self, channels: int) -> nn.BatchNorm1d:
        module = nn.BatchNorm1d(channels)
        self.layers.append(module)
        return module

    def dense(self, inside: int, out: int, kernel: int = 1, **options: int) -> Callable[[Tensor], Tensor]:
        convolution, norm = self.convolution(inside, out, kernel, **options), self.norm(out)
        return lambda values: norm(convolution(torch.relu(values)))

    def separable(self, inside: int, out: int, kernel: int, stride: int) -> Callable[[Tensor], Tensor]:
        first = self.convolution(inside, inside, kernel, groups=inside, stride=stride)
        widen, norm = self.convolution(inside, out), self.norm(out)
        second = self.convolution(out, out, kernel, groups=out)
        mix, last = self.convolution(out, out), self.norm(out)
        return lambda values: last(mix(second(torch.relu(norm(widen(first(torch.relu(values))))))))

    def halved(self, inside: int, out: int) -> Callable[[Tensor], Tensor]:
        """A factorised reduction."""
        even, odd = (self.convolution(inside, out // 2, stride=2) for _ in range(2))
        norm = self.norm(out)

        def run(values: Tensor) -> Tensor:
            longer = F.pad(values, (0, values.shape[2] % 2))
            return norm(torch.cat([even(values), odd(longer[:, :, 1:])], dim=1))

        return run

    def _network(self) -> Callable[[Tensor], Tensor]:
        stem, stem_norm = self.convolution(CHANNELS, 3 * FILTERS, 3), self.norm(3 * FILTERS)
        widths, strides = [3 * FILTERS], [1]
        cells = []
        for index, (reduces, filters) in enumerate([(False, 8), (True, 16), (False, 16), (True, 32), (False, 32)]):
            back = 1 if index == 0 else 2
            build = self._reduction if reduces else self._normal
            same = strides[-1] == strides[-back]
            cells.append((back, build(widths[-back], widths[-1], filters, same=same, first=index == 0)))
            widths.append(2 * filters if reduces else filters)
            strides.append(strides[-1] * (2 if reduces else 1))
        classifier = nn.Linear(widths[-1], CLASSES)
        self.layers.append(classifier)
        self.held = nn.ModuleList(self.layers)

        def run(values: Tensor) -> Tensor:
            chain = [stem_norm(stem(values))]
            for back, cell in cells:
                chain.append(cell(chain[-back], chain[-1]))
            return classifier(torch.relu(chain[-1]).mean(dim=2))

        return run

    def _inputs(self, before: int, last: int, filters: int, *, same: bool, first: bool) -> tuple[Any, Any, int]:
        width = filters
        if first:
            earlier, width = (lambda values: values), before
        elif not same:
            reduced = self.halved(before, filters)
            earlier = lambda values: reduced(torch.relu(values))  # noqa: E731
        else:
            earlier = self.dense(before, filters) if before != filters else (lambda values: values)
        return earlier, self.dense(last, filters), width

    def _normal(self, before: int, last: int, filters: int, *, same: bool, first: bool) -> Callable[..., Tensor]:
        earlier, current, width = self._inputs(before, last, filters, same=same, first=first)
        separable = self.separable(width, filters, 3, 1)
        dilated = self.dense(filters, filters, 3, dilation=2)

        def run(previous: Tensor, latest: Tensor) -> Tensor:
            state0, state1 = earlier(previous), current(latest)
            state2 = separable(state0) + F.max_pool1d(F.pad(state1, (1, 1), value=-torch.inf), 3, 1)
            return dilated(state2) + state1

        return run

    def _reduction(self, before: int, last: int, filters: int, *, same: bool, first: bool) -> Callable[..., Tensor]:
        earlier, current, width = self._inputs(before, last, filters, same=same, first=first)
        separable = self.separable(width, filters, 5, 2)
        dense = self.dense(filters, filters, 3, stride=2)
        output = self.halved(width, filters)

        def run(previous: Tensor, latest: Tensor) -> Tensor:
            state0, state1 = earlier(previous), current(latest)
            state2 = separable(state0) + dense(state1)
            around_mean = around(state1.shape[2], 3, 2)
            total = 3 * F.avg_pool1d(F.pad(state1, around_mean), 3, 2)
            count = 3 * F.avg_pool1d(F.pad(torch.ones_like(state1), around_mean), 3, 2)
            state3 = total / count + F.max_pool1d(F.pad(state2, (0, 1), value=-torch.inf), 2, 1)
            return torch.cat([output(state0), state3], dim=1)

        return run

    def forward(self, values: Tensor) -> Tensor:
        return self.forward_pass(values)


@pytest.mark.parametrize("training", [False, True])
def test_a_network_for_sequences_equals_one_of_pytorchs_modules(training: bool) -> None:
    torch.manual_seed(0)
    plain = Plain().double()
    network = CellNetwork(spec_of(SMALL)).double()
    state, other = network.state_dict(), plain.held.state_dict()
    assert [value.shape for value in state.values()] == [value.shape for value in other.values()]
    for value in other.values():
        if value.is_floating_point():
            value.uniform_(0.1, 1)
    network.load_state_dict(dict(zip(state, other.values(), strict=True)))
    network.train(training)
    plain.train(training)
    values = torch.randn(6, CHANNELS, LENGTH, dtype=torch.float64)
    logits = network(values)
    assert isinstance(logits, Tensor)
    torch.testing.assert_close(logits, plain(values), rtol=0, atol=1e-8)


def test_costs_of_a_network_for_sequences_are_those_of_pytorchs_modules() -> None:
    plain = Plain()
    costs = network_costs(spec_of(SMALL))
    assert costs.parameters == sum(parameter.numel() for parameter in plain.held.parameters())
    assert costs.macs == counted_macs(plain, LENGTH)


SEQUENCES = cells(operations_for(1), max_blocks=3)


@settings(deadline=None, max_examples=15)
@given(normal=SEQUENCES, reduction=SEQUENCES)
def test_costs_are_what_pytorch_counts(normal: Cell, reduction: Cell) -> None:
    for skeleton in ("nasnet_cifar", "darts_imagenet", "amoebanet_cifar", "nas_bench_201"):
        spec = spec_of(Architecture(normal, reduction), skeleton=SKELETONS[skeleton])
        network, costs = CellNetwork(spec), network_costs(spec)
        assert costs.parameters == sum(parameter.numel() for parameter in network.parameters())
        assert costs.macs == counted_macs(network, LENGTH)
        kept = kept_for_backward(network.train(), torch.zeros(2, CHANNELS, LENGTH))
        assert kept <= 2 * costs.activation_bytes


def test_a_network_for_sequences_keeps_the_counted_bytes() -> None:
    for skeleton in ("nasnet_cifar", "darts_cifar"):
        spec = spec_of(SMALL, skeleton=SKELETONS[skeleton])
        kept = kept_for_backward(CellNetwork(spec), torch.randn(2, CHANNELS, LENGTH))
        assert kept == 2 * network_costs(spec).activation_bytes


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("stride", [1, 2])
def test_every_operation_halves_a_sequence_or_does_not_exist(name: str, stride: int) -> None:
    if name in PAIRS:
        with pytest.raises(ValueError, match=f"{name}.*does not exist for data of 1 axis"):
            build_operation(name, 4, 8, stride=stride, rules=OperationRules(), axes=1)
        return
    cell = Cell((Block.add((0, name), (1, name)),), (2,))
    network = CellNetwork(spec_of(Architecture(cell, cell)))
    for length in (LENGTH, 8, 1):
        logits = network.eval()(torch.randn(2, CHANNELS, length))
        assert isinstance(logits, Tensor)
        assert logits.shape == (2, CLASSES)


def test_only_the_pairs_of_two_axes_are_missing() -> None:
    assert set(OPERATIONS) - set(operations_for(1)) == set(PAIRS)
    assert operations_for(2) == tuple(OPERATIONS)


def test_the_modules_are_one_dimensional() -> None:
    modules = list(CellNetwork(spec_of(SMALL)).modules())
    convolutions = [module for module in modules if isinstance(module, nn.Conv1d | nn.Conv2d)]
    assert convolutions
    assert all(isinstance(module, nn.Conv1d) for module in convolutions)
    assert {module.weight.ndim for module in convolutions} == {3}


def test_an_auxiliary_head_and_feature_maps_of_sequences() -> None:
    spec = spec_of(SMALL, image_size=(64,), auxiliary_head=True, drop_path_probability=0.3)
    network = CellNetwork(spec).train()
    network.regularisation.keep = torch.tensor(network.regularisation.keep_at(1.0))
    _, auxiliary = network.all_logits(torch.randn(4, CHANNELS, 64))
    assert auxiliary is not None
    assert auxiliary.shape == (4, CLASSES)
    maps = CellNetwork(spec, features_only=True).eval()(torch.randn(4, CHANNELS, 64))
    assert [value.shape[2] for value in maps] == [64, 32, 16]
    with pytest.raises(ValueError, match="would get 4 pixels and needs 5"):
        plan_network(replace(spec, image_size=(8,)))


def test_a_network_for_sequences_travels_as_json() -> None:
    spec = spec_of(SMALL)
    assert spec.to_json()["image_size"] == [LENGTH]
    assert NetworkSpec.from_json(spec.to_json()) == spec
    for size in ((), (4, 4, 4), (0,)):
        with pytest.raises(ValueError, match="image_size is .*the length of a sequence"):
            spec_of(SMALL, image_size=size)
