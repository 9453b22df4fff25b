"""Layers for the rewritten network, made from the weights of the trained one (see `rewrite`)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def make_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.copy_(weight)
    if bias is not None:
        layer.bias.copy_(bias)
    return layer


def make_layer_norm(weight: Tensor, bias: Tensor, eps: float) -> nn.LayerNorm:
    layer = nn.LayerNorm(weight.shape[0], eps)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return layer


def scale_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    """Return a batch norm in evaluation mode as x * scale + shift."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def fold_first_norm(refine: Any) -> Any:
    """Fold the norm after the sum of two 1x1 convolutions into both of them, in place."""
    scale, shift = scale_and_shift(refine.join[0])
    for convolution, extra in ((refine.from_deep, shift), (refine.from_shallow, 0)):
        convolution.weight.mul_(scale[:, None, None, None])
        convolution.bias.mul_(scale).add_(extra)
    refine.join = refine.join[1:]
    return refine


def linear_from_transposed_conv(convolution: nn.ConvTranspose2d) -> nn.Linear:
    """Return a transposed convolution of kernel 2 and stride 2 as one matrix product: c -> (2 2 out)."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)  # c out 2 2 -> (2 2 out) c
    bias: Any = convolution.bias
    return make_linear(weight, bias.repeat(4))


class Reshape(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(self.shape)


class ResizeChannelsLast(torch.autograd.Function):
    """Bilinear resize of (b h w c), written to ONNX as one Resize over the middle axes instead of two transposes."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor, factor: int) -> Tensor:
        resized = F.interpolate(x.permute(0, 3, 1, 2), scale_factor=factor, mode="bilinear", align_corners=False)
        return resized.permute(0, 2, 3, 1)

    @staticmethod
    def symbolic(g: Any, x: Any, factor: int) -> Any:
        no_roi = g.op("Constant", value_t=torch.tensor([], dtype=torch.float32))
        scales = g.op("Constant", value_t=torch.tensor([1, factor, factor, 1], dtype=torch.float32))
        return g.op("Resize", x, no_roi, scales, mode_s="linear", coordinate_transformation_mode_s="half_pixel")


def resize_channels_last(x: Tensor, factor: int) -> Tensor:
    """Return x (b h w c) enlarged bilinearly by a whole factor."""
    return x if factor == 1 else ResizeChannelsLast.apply(x, factor)


def sum_stages(stages: nn.ModuleList, features: list[Tensor]) -> Tensor:
    """Project features (b c h w), each half the size of the one before, resize them to the first -> sum (b h w d)."""
    total = stages[0](features[0].permute(0, 2, 3, 1))
    for index in range(1, len(features)):
        total = total + resize_channels_last(stages[index](features[index].permute(0, 2, 3, 1)), 2**index)
    return total
