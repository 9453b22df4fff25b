"""The deployed graph: camera bytes in, class ids out.

Input `image`, uint8 BGR (b s s 3). Output `labels`, uint8 (b s s), and optionally `logits`, float (b n s/4 s/4), the
mean logits of 4x4 pixels, for smoothing over time. The modules `before`, `network` and `after` give their names to the
nodes, by which quantization tells the network from its wrapping (see `node_names`).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from edge_segface.export.rewrite import RewrittenSegFace, rewrite
from edge_segface.export.rewrite_layers import resize_channels_last
from edge_segface.model.segface import MEAN_RGB, STD_RGB, SegFace


class DeployGraph(nn.Module):
    """A network with its preprocessing and postprocessing, for one input size."""

    def __init__(self, model: SegFace, size: int, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.before = Preprocess()
        self.network = rewrite(fold_normalisation(model), size)
        self.after = Postprocess(self.network, size, outputs)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        results: tuple[Tensor, ...] = self.after(self.network(self.before(image)))
        return results


class Preprocess(nn.Module):
    """uint8 (b s s 3) -> float (b 3 s s), minus the mean. The cast comes first: TensorRT does not transpose bytes."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(MEAN_RGB[::-1])[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        return image.float().permute(0, 3, 1, 2) - self.mean  # of planes: over three values a pixel it takes longer


class Postprocess(nn.Module):
    """Rows of logits (b p n) -> the requested outputs."""

    def __init__(self, network: RewrittenSegFace, size: int, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.to_grid = network.to_grid
        self.stride = network.stride
        self.size = size
        self.outputs = outputs

    def forward(self, rows: Tensor) -> tuple[Tensor, ...]:
        compute = {"labels": self.labels, "logits": self.low_resolution_logits}
        return tuple(compute[name](rows) for name in self.outputs)

    def labels(self, rows: Tensor) -> Tensor:
        if self.stride == 1:  # argmax first, so that one number per pixel moves into place instead of n
            classes = self.to_grid(rows.argmax(dim=-1, keepdim=True).float())
        else:
            resized = resize_channels_last(self.to_grid(rows), self.stride)
            # TensorRT-RTX 1.7 fails to compile an argmax over the last of four axes after a resize; of three, it works.
            classes = resized.reshape(-1, self.size * self.size, int(rows.shape[-1])).argmax(dim=-1).float()
        return classes.reshape(-1, self.size, self.size).to(torch.uint8)

    def low_resolution_logits(self, rows: Tensor) -> Tensor:
        side, cell = self.size // 4, 4 // self.stride
        cells = self.to_grid(rows).reshape(-1, side, cell, side, cell, int(rows.shape[-1]))
        return cells.mean(dim=(2, 4)).permute(0, 3, 1, 2)  # b n s/4 s/4


@torch.no_grad()
def fold_normalisation(model: SegFace) -> SegFace:
    """Return a copy whose first convolution reads BGR in 0..255 minus the mean, instead of normalised RGB.

    The mean stays outside: the padding of the convolution is zero after its subtraction.
    """
    model = copy.deepcopy(model)
    backbone: Any = model.backbone
    weight = backbone.conv_stem.weight  # out 3 k k
    weight.copy_((weight / (255 * weight.new_tensor(STD_RGB))[:, None, None]).flip(1))
    return model
