"""Costs, compared with published counts and with what PyTorch counts and keeps."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import PUBLISHED, SPACES, Architecture, Block, Cell
from tests.cells import architectures
from tests.kept_tensors import kept_for_backward
from tests.own_operations import EXAMPLE, EXAMPLES, spec_with
from trainables.costs import network_costs
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec
from trainables.skeleton import SKELETONS


def cifar(name: str, repeats: int, filters: int, **values: Any) -> NetworkSpec:
    """A published cell with its own skeleton, for 32x32 images of 10 classes."""
    published = PUBLISHED[name]
    return NetworkSpec(
        architecture=published.architecture,
        skeleton=SKELETONS[published.skeleton],
        repeats=repeats,
        filters=filters,
        classes=10,
        **values,
    )


def imagenet(name: str, skeleton: str, repeats: int, filters: int, size: int) -> NetworkSpec:
    return NetworkSpec(
        architecture=PUBLISHED[name].architecture,
        skeleton=SKELETONS[skeleton],
        repeats=repeats,
        filters=filters,
        classes=1000,
        image_size=(size, size),
    )


COUNTS = [
    # Counted with independent implementations of the rules of TF-slim, tensorflow/tpu, melodyguan/enas and
    # quark0/darts. They include the papers' 3.3M, 5.3M/564M, 88.9M/23.8B, 86.1M/25.0B, 2.6M/3.2M, 5.1M/555M and
    # 86.7M/23.1B.
    ("nasnet_a, 6 and 32", cifar("nasnet_a", 6, 32), 3_346_538, 544_333_312),
    ("nasnet_a, 6 and 44", cifar("nasnet_a", 6, 44), 6_163_310, 995_004_736),
    ("nasnet_a, 6 and 16", cifar("nasnet_a", 6, 16), 916_026, 152_628_992),
    ("nasnet_a, 7 and 96", cifar("nasnet_a", 7, 96), 32_590_954, 5_151_250_944),
    ("nasnet_a, 4 and 128", cifar("nasnet_a", 4, 128), 34_276_234, 5_629_900_800),
    ("nasnet_a, 2 and 12", cifar("nasnet_a", 2, 12), 219_118, 39_883_584),
    ("nasnet_a, 2 and 16", cifar("nasnet_a", 2, 16), 363_194, 65_761_024),
    ("nasnet_a, 2 and 20", cifar("nasnet_a", 2, 20), 542_790, 97_929_920),
    ("nasnet_a, 2 and 32", cifar("nasnet_a", 2, 32), 1_294_698, 232_185_344),
    ("nasnet_a, mobile", imagenet("nasnet_a", "nasnet_mobile", 4, 44, 224), 5_289_978, 563_638_816),
    ("nasnet_a, large", imagenet("nasnet_a", "nasnet_large", 6, 168, 331), 88_753_150, 23_783_414_658),
    ("pnasnet_5, large", imagenet("pnasnet_5", "pnasnet_large", 4, 216, 331), 86_057_668, 24_937_395_792),
    ("pnasnet_5, mobile", imagenet("pnasnet_5", "pnasnet_mobile", 3, 54, 224), 5_064_487, 587_293_200),
    ("amoebanet_a, 6 and 32", cifar("amoebanet_a", 6, 32), 2_567_754, 407_671_808),
    ("amoebanet_a, 6 and 36", cifar("amoebanet_a", 6, 36), 3_218_266, 509_668_992),
    ("amoebanet_a, 224", imagenet("amoebanet_a", "amoebanet_imagenet", 4, 50, 224), 5_086_930, 554_687_204),
    ("amoebanet_a, 331", imagenet("amoebanet_a", "amoebanet_imagenet", 6, 190, 331), 86_718_797, 23_133_663_507),
    ("amoebanet_b, 224", imagenet("amoebanet_b", "amoebanet_imagenet", 3, 62, 224), 5_258_700, 555_060_408),
    ("amoebanet_b, 6 and 36", cifar("amoebanet_b", 6, 36), 2_839_186, 454_925_952),
    ("amoebanet_c, 224", imagenet("amoebanet_c", "amoebanet_imagenet", 4, 50, 224), 6_353_815, 676_936_592),
    ("amoebanet_c, 6 and 36", cifar("amoebanet_c", 6, 36), 3_979_126, 609_700_896),
    ("amoebanet_d, 224", imagenet("amoebanet_d", "amoebanet_imagenet", 6, 256, 224), 121_911_016, 14_193_506_656),
    ("enas, 5 and 36", cifar("enas", 5, 36), 3_894_372, 620_907_552),
    ("darts_v2, ImageNet", imagenet("darts_v2", "darts_imagenet", 4, 48, 224), 4_718_752, 529_911_552),
]

ROUNDED = [
    # The same, but multiply-adds were published in thousands.
    ("darts_v2, 20 layers", cifar("darts_v2", 6, 36), 3_349_342, 528_359),
    ("darts_v1, 20 layers", cifar("darts_v1", 6, 36), 3_169_414, 500_988),
    ("darts_form_nasnet, 32", cifar("darts_form_nasnet", 6, 32), 3_061_738, 483_842),
    ("darts_form_nasnet, 36", cifar("darts_form_nasnet", 6, 36), 3_830_950, 603_452),
    ("darts_form_amoebanet, 36", cifar("darts_form_amoebanet", 6, 36), 3_145_078, 488_932),
    ("darts_form_pnasnet, 36", cifar("darts_form_pnasnet", 6, 36), 4_481_110, 706_027),
    ("darts_v1, ImageNet", imagenet("darts_v1", "darts_imagenet", 4, 48, 224), 4_510_432, 505_865),
    ("darts_form_nasnet, ImageNet", imagenet("darts_form_nasnet", "darts_imagenet", 4, 44, 224), 4_774_846, 512_024),
    ("darts_form_amoebanet, INet", imagenet("darts_form_amoebanet", "darts_imagenet", 4, 50, 224), 4_985_475, 569_706),
    ("darts_v2, 8 layers", cifar("darts_v2", 2, 16), 246_106, 43_445),
    ("darts_v1, 8 layers", cifar("darts_v1", 2, 16), 232_890, 41_356),
    ("darts_form_nasnet, 8 layers", cifar("darts_form_nasnet", 2, 16), 333_946, 56_225),
    ("darts_form_amoebanet, 8 layers", cifar("darts_form_amoebanet", 2, 16), 326_330, 52_873),
]


@pytest.mark.parametrize(("spec", "parameters", "macs"), [row[1:] for row in COUNTS], ids=[row[0] for row in COUNTS])
def test_costs_of_published_networks_match_the_references(spec: NetworkSpec, parameters: int, macs: int) -> None:
    costs = network_costs(spec)
    assert (costs.parameters, costs.macs) == (parameters, macs)


@pytest.mark.parametrize(("spec", "parameters", "kmacs"), [row[1:] for row in ROUNDED], ids=[row[0] for row in ROUNDED])
def test_costs_of_darts_networks_match_the_references(spec: NetworkSpec, parameters: int, kmacs: int) -> None:
    costs = network_costs(spec)
    assert (costs.parameters, round(costs.macs / 1000)) == (parameters, kmacs)


@pytest.mark.parametrize(
    ("spec", "with_statistics"),
    [
        (cifar("nasnet_a", 6, 32), 3_383_786),
        (cifar("nasnet_a", 6, 32, auxiliary_head=True), 5_017_076),
        (imagenet("nasnet_a", "nasnet_mobile", 4, 44, 224), 5_326_716),
        (imagenet("nasnet_a", "nasnet_large", 6, 168, 331), 88_949_818),
        (imagenet("pnasnet_5", "pnasnet_large", 4, 216, 331), 86_234_656),
        (imagenet("pnasnet_5", "pnasnet_mobile", 3, 54, 224), 5_098_151),
        (imagenet("amoebanet_a", "amoebanet_imagenet", 4, 50, 224), 5_122_936),
        (imagenet("amoebanet_a", "amoebanet_imagenet", 6, 190, 331), 86_908_673),
    ],
)
def test_sizes_with_running_statistics_match_the_references(spec: NetworkSpec, with_statistics: int) -> None:
    """Some published sizes include them: NASNet-A's 88.9M are parameters and running statistics."""
    with torch.device("meta"):
        network = CellNetwork(spec)
    floating = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    assert sum(tensor.numel() for tensor in floating) == with_statistics


def test_auxiliary_heads_add_the_parameters_of_the_references_and_no_macs() -> None:
    for name, filters, more in (("nasnet_a", 32, 1_631_498), ("darts_v2", 36, 476_426)):
        without = network_costs(cifar(name, 6, filters))
        with_head = network_costs(cifar(name, 6, filters, auxiliary_head=True))
        assert with_head.parameters == without.parameters + more
        assert with_head.macs == without.macs
        assert with_head.activation_bytes > without.activation_bytes


@pytest.mark.parametrize(
    ("operations", "millions"),
    [
        # Rows of NAS-Bench-201's table: operations on the six edges, parameters in millions on CIFAR-10.
        (("none", "none", "none", "none", "none", "none"), 0.073306),
        (("conv_3x3", "conv_3x3", "conv_3x3", "conv_3x3", "conv_3x3", "conv_3x3"), 1.531546),
        (("identity", "identity", "identity", "identity", "identity", "identity"), 0.073306),
        (("conv_1x1", "none", "none", "none", "none", "none"), 0.101306),
        (("conv_1x1", "conv_3x3", "avg_pool_3x3", "identity", "none", "conv_1x1"), 0.372346),
    ],
)
def test_parameters_of_nas_bench_201_networks_match_its_table(operations: tuple[str, ...], millions: float) -> None:
    space = SPACES["nas_bench_201"]
    architecture = space.decode(dict(zip(space.param_space(), operations, strict=True)))
    spec = NetworkSpec(architecture=architecture, skeleton=SKELETONS[space.skeleton], repeats=5, filters=16, classes=10)
    assert network_costs(spec).parameters == round(millions * 1e6)


def small(architecture: Architecture, skeleton: str, **values: Any) -> NetworkSpec:
    return NetworkSpec(
        architecture=architecture,
        skeleton=SKELETONS[skeleton],
        **{"repeats": 1, "filters": 8, "classes": 5, "image_size": (21, 18), **values},
    )


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("size", [(32, 32), (21, 18)])
def test_published_networks_keep_the_counted_bytes(name: str, size: tuple[int, int]) -> None:
    spec = small(PUBLISHED[name].architecture, PUBLISHED[name].skeleton, image_size=size, auxiliary_head=size[0] > 30)
    images = torch.randn(2, 3, *size)
    assert kept_for_backward(CellNetwork(spec), images) == 2 * network_costs(spec).activation_bytes


@pytest.mark.parametrize("operation", ["conv_3x3", "residual_block", "max_pool_2x2"])
def test_operations_that_share_nothing_keep_the_counted_bytes(operation: str) -> None:
    """A residual block computes its own ReLU of the state, and an even window pads a copy."""
    space = SPACES["nas_bench_201"]
    edges = Cell((Block.add((0, operation)), Block.add((0, "conv_3x3"), (1, operation))), (2,), inputs=1)
    assert space.reduction is not None
    spec = small(Architecture(edges, space.reduction), "nas_bench_201")
    images = torch.randn(2, 3, *spec.image_size)
    assert kept_for_backward(CellNetwork(spec), images) == 2 * network_costs(spec).activation_bytes


def test_operations_of_the_users_own_cost_what_they_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    spec = spec_with(*EXAMPLE)
    network, images = CellNetwork(spec), torch.randn(2, 1, 8, 8)
    costs = network_costs(spec)
    assert kept_for_backward(network, images) == 2 * costs.activation_bytes
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(images[:1])
    assert costs.macs == counter.get_total_flops() // 2
    assert costs.parameters == sum(parameter.numel() for parameter in network.parameters())


@settings(max_examples=10, deadline=None)
@given(architectures())
def test_costs_of_any_network_match_pytorch(architecture: Architecture) -> None:
    for skeleton in ("nasnet_cifar", "amoebanet_imagenet", "darts_imagenet", "enas_cifar", "nas_bench_201"):
        spec = small(architecture, skeleton)
        network = CellNetwork(spec)
        images = torch.randn(1, 3, *spec.image_size)
        costs = network_costs(spec)
        assert costs.parameters == sum(parameter.numel() for parameter in network.parameters())
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.eval()(images)
        assert costs.macs == counter.get_total_flops() // 2


@settings(max_examples=20, deadline=None)
@given(architectures())
def test_any_network_keeps_at_most_the_counted_bytes(architecture: Architecture) -> None:
    """It keeps less if a part of an arbitrary cell does not reach the output."""
    for skeleton in ("nasnet_cifar", "darts_cifar"):
        spec = small(architecture, skeleton)
        images = torch.randn(2, 3, *spec.image_size)
        assert kept_for_backward(CellNetwork(spec), images) <= 2 * network_costs(spec).activation_bytes


def test_counting_needs_no_torch() -> None:
    """The driver counts costs, and it does not import torch."""
    code = (
        "import sys; from trainables.costs import network_costs; from trainables.network_spec import NetworkSpec; "
        "from search_spaces import NASNET_A; "
        "print(network_costs(NetworkSpec(architecture=NASNET_A, repeats=6, filters=32, classes=10)).parameters); "
        "assert 'torch' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "3346538\n"
