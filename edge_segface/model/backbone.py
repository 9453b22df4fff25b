"""Backbones from timm, as modules that return their features from the largest to the smallest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
from torch import Tensor, nn


def mobilenet_v3(name: str, out_indices: Sequence[int] = (0, 1, 2, 3, 4)) -> Any:
    """Return a MobileNetV3 with torchvision's batch-norm settings, as SegFace used."""
    return timm.create_model(name, features_only=True, out_indices=out_indices, bn_eps=1e-3, bn_momentum=0.01)


def efficientnet_lite(name: str) -> Any:
    """Return an EfficientNet-Lite with features at strides 2 to 32."""
    return timm.create_model(name, features_only=True, out_indices=(0, 1, 2, 3, 4), bn_momentum=0.01)


class MobileNetV4(nn.Module):
    """A convolutional MobileNetV4 with features at strides 2 to 32, without the 1x1 convolution to 960 channels."""

    def __init__(self, name: str) -> None:
        super().__init__()
        network: Any = timm.create_model(name, bn_momentum=0.01)
        self.conv_stem, self.bn1, self.blocks = network.conv_stem, network.bn1, network.blocks[:-1]

    @property
    def channels(self) -> list[int]:
        last = [[m for m in stage.modules() if isinstance(m, nn.Conv2d)][-1] for stage in self.blocks]
        return [self.conv_stem.out_channels, *(layer.out_channels for layer in last)]

    def forward(self, image: Tensor) -> list[Tensor]:
        features = [self.bn1(self.conv_stem(image))]
        for stage in self.blocks:
            features.append(stage(features[-1]))
        return features
