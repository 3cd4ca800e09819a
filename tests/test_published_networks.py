"""Our networks equal independent implementations with the same random weights, in float64.

timm, pytorchcv and pretrainedmodels define these networks layer by layer. `convert_weights` copies the weights and is
tested with them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces import PUBLISHED
from trainables.layers import same_padding
from trainables.modules import Pool
from trainables.network import CellNetwork
from trainables.network_spec import NetworkSpec
from trainables.pretrained import convert_weights
from trainables.skeleton import SKELETONS

with warnings.catch_warnings():  # of these libraries, at import
    warnings.simplefilter("ignore")
    import timm
    from pretrainedmodels.models.nasnet import NASNetALarge
    from pretrainedmodels.models.nasnet_mobile import NASNetAMobile
    from pretrainedmodels.models.pnasnet import PNASNet5Large
    from pytorchcv.models.darts import darts
    from pytorchcv.models.nasnet import nasnet_4a1056, nasnet_6a4032
    from pytorchcv.models.pnasnet import pnasnet5large

MAX_DIFFERENCE = 1e-8


def imagenet(cell: str, skeleton: str, repeats: int, filters: int) -> NetworkSpec:
    architecture = PUBLISHED[cell].architecture
    return NetworkSpec(
        architecture=architecture, skeleton=SKELETONS[skeleton], repeats=repeats, filters=filters, classes=1000
    )


NASNET_MOBILE = imagenet("nasnet_a", "nasnet_mobile", 4, 44)
NASNET_LARGE = imagenet("nasnet_a", "nasnet_large", 6, 168)
PNASNET_LARGE = imagenet("pnasnet_5", "pnasnet_large", 4, 216)
DARTS = imagenet("darts_v2", "darts_imagenet", 4, 48)


def pytorchcv(make: Callable[[], Any]) -> Callable[[], nn.Module]:
    """The network with a global average pool in place of one of a fixed size."""

    def made() -> nn.Module:
        network = make()
        network.features.final_pool = nn.AdaptiveAvgPool2d(1)
        return network

    return made


def pretrainedmodels(make: Callable[..., Any]) -> Callable[[], nn.Module]:
    """The network with a global average pool in place of one of a fixed size."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = make(num_classes=1000)

        def forward(self, images: Tensor) -> Tensor:
            return self.inner.last_linear(F.relu(self.inner.features(images)).mean((2, 3)))

        def state_dict(self, *arguments: Any, **values: Any) -> Any:
            return self.inner.state_dict(*arguments, **values)

    return Made


def randomised(make: Callable[[], nn.Module]) -> nn.Module:
    """Random weights and running statistics that keep activations near 1, so that differences stay visible."""
    torch.manual_seed(0)
    network = make().double().eval()
    for name, value in network.state_dict().items():
        if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            value.uniform_(0.5, 1.5)
        elif value.ndim > 1:
            value.normal_(std=(1.5 / value[0].numel()) ** 0.5)
        elif value.is_floating_point():
            value.uniform_(-0.5, 0.5)
    return network


def with_weights_of(theirs: nn.Module, spec: NetworkSpec) -> CellNetwork:
    with torch.device("meta"):
        network = CellNetwork(spec)
    network.load_state_dict(convert_weights(theirs.state_dict(), spec), assign=True)
    return network.eval()


def images(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# Sizes from 75 and 331 pixels are odd and even at the same layers of the network; so are sizes from 64 and 224.
@pytest.mark.parametrize(
    ("make", "spec", "size"),
    [
        pytest.param(pytorchcv(nasnet_4a1056), NASNET_MOBILE, 64, id="pytorchcv nasnet_4a1056"),
        pytest.param(pytorchcv(nasnet_4a1056), NASNET_MOBILE, 224, id="pytorchcv nasnet_4a1056, 224"),
        pytest.param(pretrainedmodels(NASNetAMobile), NASNET_MOBILE, 64, id="pretrainedmodels nasnetamobile"),
        pytest.param(pytorchcv(darts), DARTS, 64, id="pytorchcv darts"),
        pytest.param(pytorchcv(darts), DARTS, 224, id="pytorchcv darts, 224"),
        pytest.param(pytorchcv(nasnet_6a4032), NASNET_LARGE, 75, id="pytorchcv nasnet_6a4032", marks=pytest.mark.slow),
        pytest.param(
            pretrainedmodels(NASNetALarge), NASNET_LARGE, 75, id="pretrainedmodels nasnetalarge", marks=pytest.mark.slow
        ),
        pytest.param(pytorchcv(pnasnet5large), PNASNET_LARGE, 75, id="pytorchcv pnasnet5large", marks=pytest.mark.slow),
        pytest.param(
            lambda: timm.create_model("pnasnet5large"),
            PNASNET_LARGE,
            75,
            id="timm pnasnet5large",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda: timm.create_model("pnasnet5large"),
            PNASNET_LARGE,
            331,
            id="timm pnasnet5large, 331",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            pretrainedmodels(PNASNet5Large),
            PNASNET_LARGE,
            75,
            id="pretrainedmodels pnasnet5large",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            pytorchcv(nasnet_6a4032), NASNET_LARGE, 331, id="pytorchcv nasnet_6a4032, 331", marks=pytest.mark.slow
        ),
    ],
)
def test_networks_equal_independent_implementations(
    make: Callable[[], nn.Module], spec: NetworkSpec, size: int
) -> None:
    theirs = randomised(make)
    ours = with_weights_of(theirs, spec)
    with torch.no_grad():
        expected, found = theirs(images(size)), ours(images(size))
    assert expected.std() > 0.1
    assert (expected - found).abs().max() < MAX_DIFFERENCE


class PoolThatCountsPadding(nn.Module):
    """timm's average pool with stride 2, which counts zeros of the padding."""

    def forward(self, images: Tensor) -> Tensor:
        vertical, horizontal = (same_padding(size, 3, 2) for size in images.shape[2:])
        return F.avg_pool2d(F.pad(images, (*horizontal, *vertical)), 3, 2)


@pytest.mark.slow
def test_timms_nasnet_differs_only_by_its_padding_bug() -> None:
    theirs = randomised(lambda: timm.create_model("nasnetalarge"))
    ours = with_weights_of(theirs, NASNET_LARGE)
    with torch.no_grad():
        expected = theirs(images(75))
        assert (expected - ours(images(75))).abs().max() > 0.01
        for parent in list(ours.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, Pool) and (child.layer.kind, child.layer.stride) == ("average", 2):
                    setattr(parent, name, PoolThatCountsPadding())
        assert (expected - ours(images(75))).abs().max() < MAX_DIFFERENCE


@pytest.mark.parametrize(
    ("make", "spec"),
    [
        pytest.param(pytorchcv(nasnet_4a1056), NASNET_MOBILE, id="TensorFlow's family"),
        pytest.param(pytorchcv(darts), DARTS, id="DARTS' family"),
    ],
)
@pytest.mark.parametrize("training", [pytest.param(False, marks=pytest.mark.slow), True])
def test_gradients_are_equal(make: Callable[[], nn.Module], spec: NetworkSpec, training: bool) -> None:
    """For every weight, in training mode with the statistics of the batch."""
    theirs = randomised(make)
    ours = with_weights_of(theirs, spec)
    for network in (theirs, ours):
        network.train(training)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        network(images(64)).square().mean().backward()
    gradients = {name: torch.zeros_like(value) for name, value in theirs.state_dict().items()}
    gradients |= {name: weight.grad for name, weight in theirs.named_parameters() if weight.grad is not None}
    expected = convert_weights(gradients, spec)
    for name, weight in ours.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, expected[name], rtol=1e-8, atol=1e-8, msg=name)
        assert weight.grad.any(), name


def test_weights_of_another_network_are_refused() -> None:
    state = randomised(pytorchcv(nasnet_4a1056)).state_dict()
    refusal = (
        r"part \(0, 'input', 1\) of the network has a tensor of shape \(12, 32, 1, 1\), but \(11, 32, 1, 1\) in the"
    )
    with pytest.raises(ValueError, match=refusal):
        convert_weights(state, imagenet("nasnet_a", "nasnet_mobile", 4, 48))
    with pytest.raises(ValueError, match="part .* has .* in the weights to convert"):
        convert_weights(state, DARTS)
    with pytest.raises(ValueError, match=r"part \('head',\) of the network has 2 tensors, but 0 in the weights"):
        convert_weights({name: value for name, value in state.items() if not name.startswith("output")}, NASNET_MOBILE)


def test_weights_without_batch_counters_are_converted() -> None:
    """Old weights lack them."""
    state = randomised(pytorchcv(darts)).state_dict()
    bare = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    CellNetwork(DARTS).load_state_dict(convert_weights(bare, DARTS))
