"""Convolutions with gradients of our own, compared with PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from trainables.cpu_convolution import CpuConvolution


def check(convolution: CpuConvolution, size: tuple[int, int]) -> None:
    images = torch.randn(3, convolution.in_channels, *size, dtype=torch.float64)
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    own = convolution(images)
    place = {name: getattr(convolution, name) for name in ("stride", "padding", "dilation", "groups")}
    plain = F.conv2d(images, convolution.weight, **place)
    torch.testing.assert_close(own, plain, rtol=1e-10, atol=1e-12)
    assert own.is_contiguous(memory_format=torch.channels_last)
    towards = torch.randn_like(own)
    for one, other in zip(
        torch.autograd.grad(own, (images, convolution.weight), towards),
        torch.autograd.grad(plain, (images, convolution.weight), towards),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
        assert one.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (5, 1, 2, (2, 3)),
        (5, 1, 2, (4, 4)),
        (7, 1, 3, (4, 2)),
        (3, 1, 1, (2, 1)),
        (5, 2, 2, (3, 4)),
        (7, 2, 0, (9, 8)),
        (5, 2, 0, (8, 9)),
    ],
)
def test_gradients_of_a_depthwise_convolution_equal_pytorchs(
    kernel: int, stride: int, padding: int, size: tuple[int, int]
) -> None:
    convolution = CpuConvolution(6, 6, kernel, stride, padding, groups=6, bias=False, dtype=torch.float64)
    check(convolution, size)
    images = torch.randn(1, 6, *size, dtype=torch.float64)
    assert "SmallDepthwise" in convolution(images).grad_fn.name()


def test_gradients_of_a_1x1_convolution_equal_pytorchs() -> None:
    convolution = CpuConvolution(6, 4, 1, bias=False, dtype=torch.float64)
    check(convolution, (4, 5))
    assert "Pointwise" in convolution(torch.randn(1, 6, 4, 5, dtype=torch.float64)).grad_fn.name()


@pytest.mark.parametrize(
    "convolution",
    [
        CpuConvolution(6, 6, 3, padding=1, groups=6, bias=False),
        CpuConvolution(6, 6, 7, padding=6, dilation=2, groups=6, bias=False),
        CpuConvolution(6, 6, 3, padding=1, bias=False),
        CpuConvolution(6, 6, 1, 2, bias=False),
        CpuConvolution(6, 6, 1, groups=2, bias=False),
    ],
)
def test_other_convolutions_have_pytorchs_gradients(convolution: CpuConvolution) -> None:
    assert convolution(torch.randn(1, 6, 4, 4)).grad_fn.name() == "ConvolutionBackward0"


def test_only_the_gradient_that_is_needed_is_computed() -> None:
    for convolution in (CpuConvolution(6, 6, 1, bias=False), CpuConvolution(6, 6, 5, padding=2, groups=6, bias=False)):
        convolution.requires_grad_(False)
        images = torch.randn(1, 6, 2, 2, requires_grad=True)
        convolution(images).sum().backward()
        assert images.grad is not None
        assert convolution.weight.grad is None
