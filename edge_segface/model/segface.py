"""SegFace: a convolutional backbone, and a transformer decoder with one token per class."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_segface.frames import UInt8Array

MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)


class SegFace(nn.Module):
    """Maps a normalised RGB image (b 3 h w), h and w multiples of 32, to logits (b n h w).

    `class_offset` (n) is added to the logits of a network that was balanced after training; in others it is None.
    """

    class_offset: Tensor | None

    def __init__(self, backbone: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.register_buffer("class_offset", None)

    def decoded(self, image: Tensor) -> Tensor:
        """Return the logits at the size of the decoder's output."""
        logits: Tensor = self.decoder(self.backbone(image))
        return logits if self.class_offset is None else logits + self.class_offset[:, None, None]

    def forward(self, image: Tensor) -> Tensor:
        logits = self.decoded(image)
        if logits.shape[2:] == image.shape[2:]:
            return logits
        return F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)


def normalised(crops_bgr: UInt8Array | Tensor) -> Tensor:
    """Convert BGR bytes (b s s 3) to the network's input: RGB, normalised as for ImageNet (b 3 s s)."""
    if isinstance(crops_bgr, np.ndarray):
        crops_bgr = torch.from_numpy(np.ascontiguousarray(crops_bgr))
    rgb = crops_bgr.flip(-1).permute(0, 3, 1, 2) / 255
    mean, deviation = (torch.tensor(values, device=rgb.device)[:, None, None] for values in (MEAN_RGB, STD_RGB))
    return (rgb - mean) / deviation
