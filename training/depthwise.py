"""Depthwise convolutions whose gradients are not slow on a CPU.

Measured on two cores (torch 2.13, oneDNN): the backward pass of a depthwise convolution in bfloat16 takes up to
200 times its forward pass, and four fifths of a training step of EfficientNet-B4. The gradient of the input is
itself a depthwise convolution with the kernel turned round, so the forward routine does it; that of the
kernel is summed tap by tap on small maps and left to the library, in float32, on large ones. Same numbers.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

_SMALL_MAP = 16


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pixels: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(pixels, kernel)
        ctx.stride, ctx.padding = stride, padding
        return conv2d(pixels, kernel.to(pixels.dtype), None, stride, padding, groups=kernel.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        pixels, kernel = ctx.saved_tensors
        gradient = gradients[0]
        spread = gradient
        if ctx.stride > 1:
            spread = torch.zeros_like(pixels, dtype=gradient.dtype)
            spread[:, :, :: ctx.stride, :: ctx.stride] = gradient
        turned = kernel.flip(2, 3).to(gradient.dtype)
        of_pixels = conv2d(spread, turned, None, 1, kernel.shape[-1] - 1 - ctx.padding, groups=kernel.shape[0])
        return of_pixels, _kernel_gradient(pixels, gradient, kernel, ctx.stride, ctx.padding), None, None


def _kernel_gradient(pixels: Tensor, gradient: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
    height, width = gradient.shape[2:]
    if height * width > _SMALL_MAP:
        arguments = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], kernel.shape[0], (False, True, False))
        return torch.ops.aten.convolution_backward(gradient.float(), pixels.float(), kernel, None, *arguments)[1]
    padded = pad(pixels.float(), (padding,) * 4)
    of_output = gradient.float()
    taps = [
        (of_output * padded[:, :, top : top + stride * height : stride, left : left + stride * width : stride]).sum(
            (0, 2, 3)
        )
        for top in range(kernel.shape[2])
        for left in range(kernel.shape[3])
    ]
    return torch.stack(taps, dim=1).reshape(kernel.shape)


def _forward(module: nn.Conv2d, pixels: Tensor) -> Tensor:
    if torch.is_autocast_enabled(pixels.device.type):
        pixels = pixels.to(torch.get_autocast_dtype(pixels.device.type))
    return _Depthwise.apply(pixels, module.weight, module.stride[0], module.padding[0])


def replace_depthwise(network: nn.Module) -> int:
    """Makes the network's depthwise convolutions use these gradients; returns how many there are.

    Only those with equal odd sides, "same" padding and no bias; the weights stay where they are.
    """
    count = 0
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels == module.out_channels:
            side = module.kernel_size[0]
            plain = module.bias is None and module.kernel_size == (side, side) and module.padding == (side // 2,) * 2
            if plain and side % 2 and module.dilation == (1, 1):
                module.forward = partial(_forward, module)  # type: ignore[method-assign]
                count += 1
    return count
