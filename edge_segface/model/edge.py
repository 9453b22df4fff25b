"""A decoder for small devices: SegFace's transformer at stride 16 or 8, masks at half the input size.

At stride 16 the class tokens attend to a sixteenth as many positions as in the paper. The detail that small parts need
(eyes, brows, lips) is then restored from shallow features by cheap separable convolutions.

Shapes: b batch, n classes (one token each), p positions of the transformer (h * w), d width, m mask width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_segface.model.attention import FourierPosition, TwoWayTransformer


class Refine(nn.Module):
    """Fuses deep features with shallow ones of twice the size: 1x1 of both, sum, then a separable convolution."""

    def __init__(self, deep: int, shallow: int, out: int, kernel: int) -> None:
        super().__init__()
        self.from_deep = nn.Conv2d(deep, out, kernel_size=1)
        self.from_shallow = nn.Conv2d(shallow, out, kernel_size=1)
        self.join = nn.Sequential(
            nn.BatchNorm2d(out),
            nn.Hardswish(),
            nn.Conv2d(out, out, kernel, padding=kernel // 2, groups=out, bias=False),
            nn.BatchNorm2d(out),
            nn.Conv2d(out, out, kernel_size=1, bias=False),
            nn.BatchNorm2d(out),
            nn.Hardswish(),
        )

    def forward(self, deep: Tensor, shallow: Tensor) -> Tensor:
        # The 1x1 and the upsampling commute; before it, the 1x1 costs a quarter.
        doubled = F.interpolate(self.from_deep(deep), scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.join(doubled + self.from_shallow(shallow))


class EdgeDecoder(nn.Module):
    """Maps features at strides 2, 4, 8, 16, 32 to logits at half the input size.

    With `eighth_width` the transformer works at stride 16, and features of that width lead over stride 8; without it,
    the transformer works at stride 8.
    """

    def __init__(
        self,
        classes: int,
        channels: Sequence[int],
        *,
        width: int,
        depth: int,
        heads: int,
        cross_inner: int,
        hidden: int,
        refine_width: int,
        mask_width: int,
        eighth_width: int | None = None,
    ) -> None:
        super().__init__()
        half, quarter, *deep = channels
        self.stride = 8
        self.refine_eighth: Refine | None = None
        last = width
        if eighth_width is not None:
            self.stride = 16
            self.refine_eighth = Refine(width, deep[0], eighth_width, kernel=5)
            last, deep = eighth_width, deep[1:]
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, kernel_size=1, bias=False) for count in deep)
        self.lateral_norm = nn.BatchNorm2d(width)
        self.position = FourierPosition(width)
        self.class_tokens = nn.Parameter(torch.randn(classes, width))
        self.transformer = TwoWayTransformer(width, depth, heads, cross_inner, hidden)
        self.refine_quarter = Refine(last, quarter, refine_width, kernel=5)
        self.refine_half = Refine(refine_width, half, mask_width, kernel=3)
        self.mask_mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, mask_width))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        half, quarter, *deep = features
        eighth = deep.pop(0) if self.refine_eighth is not None else None
        fused = self.lateral_norm(
            sum(upsampled(lateral(x), deep[0]) for lateral, x in zip(self.lateral, deep, strict=True))
        )  # b d h w
        batch, _, height, width = fused.shape
        tokens, image = self.transformer(
            self.class_tokens.expand(batch, -1, -1), fused.flatten(2).transpose(1, 2), self.position(height, width)
        )
        pixels = image.transpose(1, 2).unflatten(2, (height, width))  # b d h w
        if self.refine_eighth is not None:
            pixels = self.refine_eighth(pixels, eighth)
        pixels = self.refine_half(self.refine_quarter(pixels, quarter), half)  # b m H/2 W/2
        return torch.einsum("bnm,bmhw->bnhw", self.mask_mlp(tokens), pixels)


def upsampled(x: Tensor, like: Tensor) -> Tensor:
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
