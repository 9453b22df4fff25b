"""What makes a training step on a CPU faster, with the same results: kept memory, and gradients of depthwise layers."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

# Options of glibc's mallopt.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
KEPT_BYTES = 2**31 - 1
TOP_PAD_BYTES = 256 << 20


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed, for the next step; return whether it will.

    A step frees hundreds of large tensors. By default each goes back to the system at once, and the next one of its
    size costs a page fault for each 4 KiB.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    options = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, TOP_PAD_BYTES))
    accepted = [mallopt(option, value) == 1 for option, value in options]
    return all(accepted)


def speed_up_depthwise(model: nn.Module) -> None:
    """Give the depthwise convolutions of a network gradients that are fast in bfloat16 on a CPU."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and _is_depthwise(module):
            faster = {nn.Conv2d: DepthwiseConv2d, Conv2dSame: DepthwiseConv2dSame}.get(type(module))
            if faster is not None:
                module.__class__ = faster


def _is_depthwise(layer: nn.Conv2d) -> bool:
    square = all(len(set(value)) == 1 for value in (layer.kernel_size, layer.stride))
    return (
        layer.groups == layer.in_channels == layer.out_channels > 1
        and square
        and layer.bias is None
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution with fast gradients."""

    def forward(self, x: Tensor) -> Tensor:
        if not _applies(x):
            return super().forward(x)
        result: Tensor = _Depthwise.apply(x, self.weight, self.stride[0], int(self.padding[0]))
        return result


class DepthwiseConv2dSame(Conv2dSame):
    """A depthwise convolution that pads as TensorFlow does, with fast gradients."""

    def forward(self, x: Tensor) -> Tensor:
        if not _applies(x):
            return super().forward(x)  # type: ignore[no-untyped-call]
        padded = pad_same(x, list(self.kernel_size), list(self.stride))
        result: Tensor = _Depthwise.apply(padded, self.weight, self.stride[0], 0)
        return result


def _applies(x: Tensor) -> bool:
    return x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()


class _Depthwise(torch.autograd.Function):
    """oneDNN computes the gradient of the input slowly for stride 2, and that of a 5x5 kernel slowly in bfloat16."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, 1, weight.shape[0])

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        channels, _, kernel, _ = weight.shape
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            spread = gradient
            if stride > 1:  # zeros between the pixels make it a convolution of stride 1
                height, width = (side + 2 * padding - kernel + 1 for side in x.shape[2:])
                spread = gradient.new_zeros(len(x), channels, height, width).contiguous(
                    memory_format=torch.channels_last
                )
                spread[:, :, ::stride, ::stride] = gradient
            of_input = F.conv2d(spread, weight.flip(2, 3), None, 1, kernel - 1 - padding, 1, channels)
        if ctx.needs_input_grad[1]:
            operands = (gradient, x, weight)
            if kernel > 3:
                operands = (gradient.float(), x.float(), weight.float())
            only_weight = [False, True, False]
            of_weight = torch.ops.aten.convolution_backward(
                *operands, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], channels, only_weight
            )[1]
        return of_input, of_weight, None, None
