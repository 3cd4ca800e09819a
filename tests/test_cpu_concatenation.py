"""Concatenation with gradients of our own, compared with PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainables.cpu_concatenation import concatenate

LAYOUTS = [torch.channels_last, torch.contiguous_format]


def parts(layout: torch.memory_format, size: tuple[int, int]) -> list[Tensor]:
    torch.manual_seed(0)
    images = [torch.randn(3, channels, *size, dtype=torch.float64) for channels in (2, 5, 3)]
    return [part.contiguous(memory_format=layout).requires_grad_() for part in images]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1)])
def test_values_and_gradients_equal_pytorchs(layout: torch.memory_format, size: tuple[int, int]) -> None:
    images = parts(layout, size)
    own, plain = concatenate(images), torch.cat(images, dim=1)
    assert "Concatenation" in str(own.grad_fn)
    torch.testing.assert_close(own, plain, rtol=0, atol=0)
    towards = torch.randn_like(own)
    for one, other in zip(
        torch.autograd.grad(own, images, towards), torch.autograd.grad(plain, images, towards), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        assert one.is_contiguous(memory_format=layout)


def test_a_part_without_gradient_gets_none() -> None:
    first, *others = parts(torch.channels_last, (4, 4))
    concatenate([first.detach(), *others]).sum().backward()
    assert first.grad is None
    assert all(part.grad is not None for part in others)


def test_the_second_derivative_equals_pytorchs() -> None:
    assert torch.autograd.gradgradcheck(lambda *images: concatenate(list(images)), parts(torch.channels_last, (2, 3)))


def test_autocast_promotes_as_pytorchs_does() -> None:
    whole, half = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, 4, 4, dtype=torch.bfloat16)
    half.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        joined = concatenate([whole, half])
    assert joined.dtype == torch.float32
    joined.sum().backward()
    assert whole.grad is not None
    assert half.grad is not None
    assert (whole.grad.dtype, half.grad.dtype) == (torch.float32, torch.bfloat16)


def test_without_gradients_it_is_pytorchs_own() -> None:
    with torch.no_grad():
        assert concatenate(parts(torch.channels_last, (2, 2))).grad_fn is None


def test_torch_compile_sees_a_plain_concatenation() -> None:
    compiled = torch.compile(concatenate, backend="eager", fullgraph=True)
    images = parts(torch.channels_last, (2, 2))
    assert "Cat" in str(compiled(images).grad_fn)
