"""BiSeNet (Yu et al., ECCV 2018) with ResNet-18, the base of many face parsers, written from its paper.

It has a spatial path of convolutions at stride 2, a context path (ResNet-18 with attention refinement at strides 16 and
32 and the global mean as its tail), a feature fusion module and a head. The auxiliary heads, used only in training, are
omitted. The paper does not give the width of the spatial path; 64, 64, 64 and a 1x1 convolution to 128 are usual.
Refinement begins with a 3x3 convolution to 128, as is usual too. Most face parsers replace the spatial path with
ResNet's features at stride 8: `spatial_path=False`.
"""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


class ConvBnRelu(nn.Sequential):
    def __init__(self, into: int, out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
        )


class AttentionRefinement(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = ConvBnRelu(into, out)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(out, out, 1, bias=False), nn.BatchNorm2d(out), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        features = self.conv(features)  # n c h w
        gated: Tensor = features * self.gate(features)
        return gated


class ContextPath(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model("resnet18", features_only=True, out_indices=(2, 3, 4))
        self.refine_16 = AttentionRefinement(256, 128)
        self.refine_32 = AttentionRefinement(512, 128)
        self.tail = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvBnRelu(512, 128, 1))
        self.join_16, self.join_32 = ConvBnRelu(128, 128), ConvBnRelu(128, 128)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return ResNet's features at stride 8 and the context features, both n 128 h/8 w/8."""
        at_8, at_16, at_32 = self.backbone(image)
        deep = self.refine_32(at_32) + self.tail(at_32)
        deep = self.join_32(interpolate(deep, scale_factor=2.0, mode="nearest"))
        deep = self.refine_16(at_16) + deep
        return at_8, self.join_16(interpolate(deep, scale_factor=2.0, mode="nearest"))


class FeatureFusion(nn.Module):
    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.join = ConvBnRelu(width, width, 1)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // 4, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // 4, width, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        joined: Tensor = self.join(torch.cat([spatial, context], dim=1))  # n 256 h/8 w/8
        gated: Tensor = joined + joined * self.gate(joined)
        return gated


class BiSeNet(nn.Module):
    """Maps normalised images (n 3 h w) to logits (n c h w)."""

    def __init__(self, classes: int, *, spatial_path: bool = True) -> None:
        super().__init__()
        self.spatial = (
            nn.Sequential(
                ConvBnRelu(3, 64, 7, 2), ConvBnRelu(64, 64, 3, 2), ConvBnRelu(64, 64, 3, 2), ConvBnRelu(64, 128, 1)
            )
            if spatial_path
            else None
        )
        self.context = ContextPath()
        self.fusion = FeatureFusion()
        self.head = nn.Sequential(ConvBnRelu(256, 256), nn.Conv2d(256, classes, 1, bias=False))

    def forward(self, image: Tensor) -> Tensor:
        at_8, context = self.context(image)
        spatial = at_8 if self.spatial is None else self.spatial(image)
        logits = self.head(self.fusion(spatial, context))
        return interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)
