"""The decoder of the SegFace paper (AAAI 2025), tensor for tensor.

Shapes: b batch, n classes (one token each), p positions at a quarter of the input (h * w), d width, m mask width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_segface.model.attention import FourierPosition, TwoWayTransformer


class LayerNorm2d(nn.Module):
    """LayerNorm over the channels of (b c h w)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


class PaperDecoder(nn.Module):
    """Maps features at strides 4, 8, 16, 32 to logits at the input size."""

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
        mask_width: int,
    ) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(count, width) for count in channels)
        self.fuse = nn.Conv2d(len(channels) * width, width, kernel_size=1, bias=False)
        self.position = FourierPosition(width)
        self.class_tokens = nn.ParameterList(torch.randn(1, width) for _ in range(classes))
        self.transformer = TwoWayTransformer(width, depth, heads, cross_inner, hidden)
        self.upscale = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, kernel_size=2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, mask_width, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.mask_mlp = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, mask_width)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        fused = self._fused(features)  # b d h w
        batch, _, height, width = fused.shape
        tokens = torch.cat(tuple(self.class_tokens)).expand(batch, -1, -1)  # b n d
        image = fused.flatten(2).transpose(1, 2)  # b p d
        tokens, image = self.transformer(tokens, image, self.position(height, width))
        pixels = self.upscale(image.transpose(1, 2).unflatten(2, (height, width)))  # b m 4h 4w
        return torch.einsum("bnm,bmhw->bnhw", self.mask_mlp(tokens), pixels)

    def _fused(self, features: Sequence[Tensor]) -> Tensor:
        size_hw = features[0].shape[2:]
        resized = [
            F.interpolate(
                project(feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
                size=size_hw,
                mode="bilinear",
                align_corners=False,
            )
            for project, feature in zip(self.project, features, strict=True)
        ]
        return self.fuse(torch.cat(resized[::-1], dim=1))  # deepest first, as in the official code
