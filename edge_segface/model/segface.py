"""SegFace: a convolutional backbone, and a decoder in which every class is one token."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SegFace(nn.Module):
    """Normalised RGB image (b 3 h w), h and w multiples of 32 -> logits (b n h w)."""

    def __init__(self, backbone: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.backbone(image))
        if logits.shape[2:] == image.shape[2:]:
            return logits
        return F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)
