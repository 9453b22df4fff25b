"""The deploy graph: what a camera gives goes in, what a program wants comes out.

Input `image`, uint8 BGR (b s s 3). Output `labels`, uint8 (b s s), and on request `logits`, float (b n s/4 s/4), the
mean logits of 4x4 pixels, for smoothing over time. The modules are called before, network and after, and so begin the
names of the nodes: whoever changes precision can tell the network from its wrapping.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from edge_segface.export.rewrite import RewrittenSegFace, resized_channels_last, rewritten
from edge_segface.model.segface import MEAN_RGB, STD_RGB, SegFace


class DeployGraph(nn.Module):
    def __init__(self, model: SegFace, size: int, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.before = Before()
        self.network = rewritten(with_bgr_stem(model), size)
        self.after = After(self.network, size, outputs)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        results: tuple[Tensor, ...] = self.after(self.network(self.before(image)))
        return results


class Before(nn.Module):
    """uint8 (b s s 3) -> float (b 3 s s), less the mean. Casting comes first: TensorRT does not transpose bytes."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(MEAN_RGB[::-1]))

    def forward(self, image: Tensor) -> Tensor:
        return (image.float() - self.mean).permute(0, 3, 1, 2)


class After(nn.Module):
    """Rows of logits -> the outputs asked for."""

    def __init__(self, network: RewrittenSegFace, size: int, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.place = network.place
        self.stride = network.stride
        self.size = size
        self.outputs = outputs

    def forward(self, rows: Tensor) -> tuple[Tensor, ...]:
        make = {"labels": self.labels, "logits": self.low_resolution}
        return tuple(make[name](rows) for name in self.outputs)

    def labels(self, rows: Tensor) -> Tensor:
        if self.stride == 1:  # the class is chosen first, so that one number per pixel moves into place, not n
            chosen = self.place(rows.argmax(dim=-1, keepdim=True).float())
        else:
            resized = resized_channels_last(self.place(rows), self.stride)
            # TensorRT-RTX 1.7 fails to compile an argmax over the last axis of four behind a resize; of three, it does.
            chosen = resized.reshape(-1, self.size * self.size, int(rows.shape[-1])).argmax(dim=-1).float()
        return chosen.reshape(-1, self.size, self.size).to(torch.uint8)

    def low_resolution(self, rows: Tensor) -> Tensor:
        side, cell = self.size // 4, 4 // self.stride
        cells = self.place(rows).reshape(-1, side, cell, side, cell, int(rows.shape[-1]))
        return cells.mean(dim=(2, 4)).permute(0, 3, 1, 2)


@torch.no_grad()
def with_bgr_stem(model: SegFace) -> SegFace:
    """A copy whose first convolution reads BGR in 0..255 less the mean, instead of RGB divided by its deviation."""
    model = copy.deepcopy(model)
    backbone: Any = model.backbone
    weight = backbone.conv_stem.weight  # out 3 k k
    weight.copy_((weight / (255 * weight.new_tensor(STD_RGB))[:, None, None]).flip(1))
    return model
