"""Convolutions that are computed faster on a CPU than by oneDNN. Does not know the layers of a network.

The results differ from those of `torch.nn.functional.conv2d` only by rounding, and only in training:

- A 1x1 convolution and its gradients are products of matrices.
- The weight gradient of a depthwise convolution is a depthwise convolution itself, of the images with the gradient of
  the output, where each pair of an image and a channel is a channel. oneDNN's own takes up to ten times as long if the
  output is smaller than the kernel, as in the last cells of a network for small images.
"""

from __future__ import annotations

from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@final
class CpuConvolution(nn.Conv2d):
    """An `nn.Conv2d` that uses the faster gradients where there are some."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve images [n, channels, height, width]."""
        gradients = self._gradients(input)
        if gradients is None:
            return super().forward(input)
        convolved: Tensor = gradients.apply(input, self.weight, self.stride, self.padding)
        return convolved if self.bias is None else convolved + self.bias[:, None, None]

    def _gradients(self, input: Tensor) -> type[_Pointwise | _SmallDepthwise] | None:
        if input.device.type != "cpu" or not torch.is_grad_enabled():
            return None
        if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
            return None
        if self.kernel_size == (1, 1):
            return _Pointwise if self.stride == (1, 1) and self.groups == 1 else None
        if not self.groups == self.in_channels == self.out_channels or self.dilation != (1, 1):
            return None
        padding = (int(added) for added in self.padding)
        padded = (side + 2 * added for side, added in zip(input.shape[2:], padding, strict=True))
        out = [
            (side - reach) // step + 1 for side, reach, step in zip(padded, self.kernel_size, self.stride, strict=True)
        ]
        return _SmallDepthwise if all(side < reach for side, reach in zip(out, self.kernel_size, strict=True)) else None


class _Pointwise(torch.autograd.Function):
    """A 1x1 convolution of stride 1."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, *geometry: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(input, weight)
        return (input.permute(0, 2, 3, 1) @ weight.flatten(1).t()).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        matrix = weight.flatten(1)
        pixels = gradient.permute(0, 2, 3, 1)
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            of_input = (pixels @ matrix).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            channels = input.permute(0, 2, 3, 1).flatten(0, 2)
            of_weight = (pixels.flatten(0, 2).t() @ channels).view_as(weight)
        return of_input, of_weight, None, None


class _SmallDepthwise(torch.autograd.Function):
    """A depthwise convolution whose output is smaller than its kernel."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(input, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        place = {"stride": ctx.stride, "padding": ctx.padding}
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            of_input = _depthwise_input_gradient(input, weight, gradient, **place)
        if ctx.needs_input_grad[1]:
            of_weight = _depthwise_weight_gradient(input, weight, gradient, **place)
        return of_input, of_weight, None, None


def _depthwise_input_gradient(
    input: Tensor, weight: Tensor, gradient: Tensor, *, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    # Pixels at the end that a stride leaves out.
    unread = [
        (side + 2 * added - reach) % step
        for side, added, reach, step in zip(input.shape[2:], padding, weight.shape[2:], stride, strict=True)
    ]
    # Unlike `nn.grad.conv2d_input`, this keeps the memory layout.
    return F.conv_transpose2d(gradient, weight, None, stride, padding, unread, groups=len(weight))


def _depthwise_weight_gradient(
    input: Tensor, weight: Tensor, gradient: Tensor, *, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    count, channels = input.shape[:2]
    images, kernels = (part.permute(2, 3, 0, 1).flatten(2).permute(2, 0, 1) for part in (input, gradient))
    # The stride there is the dilation here. Pixels that it leaves out there give rows too many here.
    each = F.conv2d(images[None], kernels[:, None], None, 1, padding, stride, count * channels)
    height, width = weight.shape[2:]
    return each[0, :, :height, :width].unflatten(0, (count, channels)).sum(0).unsqueeze(1)
