"""Rewrite a trained network for inference: the same function up to float rounding, in fewer and better shaped steps.

Every change is exact algebra:

- A 1x1 convolution commutes with bilinear resizing, whose weights sum to one. So the paper's linear layers and its fuse
  convolution become one matrix product per stage at that stage's own size, and only sums are resized.
- Attention between few tokens and many positions is a chain of matrix products, and products are associative. Instead
  of projecting every position to keys, queries and values, the projections are absorbed into the nineteen tokens. A
  position is then multiplied by two thin matrices per layer. Terms that are constant along a softmax cancel.
- Before the tokens have attended to the image they depend on weights alone: the first self-attention is a constant.
- A 2x2 transposed convolution of stride 2 is a product per position with four results. So the upscaling head runs as
  products over rows of contiguous channels, and pixels are moved to their places once, at the end.

Everything runs channels last, the layout in which layer norm, softmax over tokens and argmax over classes read
contiguous memory. Names of modules become names of nodes in the ONNX file, which `node_names` matches.

Shapes: b batch, n classes, p positions (h * w), d width, m mask width.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from edge_segface.export.rewrite_attention import RewrittenTransformer
from edge_segface.export.rewrite_layers import (
    Reshape,
    fold_first_norm,
    linear_from_transposed_conv,
    make_layer_norm,
    make_linear,
    scale_and_shift,
    sum_stages,
)
from edge_segface.model.edge import EdgeDecoder
from edge_segface.model.paper import PaperDecoder
from edge_segface.model.segface import SegFace


@torch.no_grad()
def rewrite(model: SegFace, size: int) -> RewrittenSegFace:
    """Return a network that computes what `model` does for one square input size.

    It maps normalised RGB (b 3 s s) to logits at the decoder's stride, channels last. Their rows may be in an order
    of the decoder's own: `to_grid` of the result arranges rows of logits or of classes as (b h w c).
    """
    model = copy.deepcopy(model).eval()
    if isinstance(model.decoder, PaperDecoder):
        return RewrittenSegFace(model, RewrittenPaperDecoder(model.decoder, size))
    if isinstance(model.decoder, EdgeDecoder):
        return RewrittenSegFace(model, RewrittenEdgeDecoder(model.decoder, size))
    raise TypeError(f"{type(model.decoder).__name__} cannot be rewritten for export")


class RewrittenSegFace(nn.Module):
    """Normalised RGB (b 3 s s) -> rows of logits (b p n), which `to_grid` arranges as an image."""

    class_offset: Tensor | None

    def __init__(self, model: SegFace, decoder: RewrittenPaperDecoder | RewrittenEdgeDecoder) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.decoder = decoder
        self.stride = decoder.stride
        self.register_buffer("class_offset", model.class_offset)

    def to_grid(self, rows: Tensor) -> Tensor:
        return self.decoder.to_grid(rows)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.backbone(image))
        return logits if self.class_offset is None else logits + self.class_offset


class RewrittenPaperDecoder(nn.Module):
    """Backbone features -> rows of logits (b p n) at the size of the input."""

    stride = 1

    def __init__(self, decoder: PaperDecoder, size: int) -> None:
        super().__init__()
        self.side = side = size // 4
        self.width = decoder.fuse.out_channels
        self.mask_width = decoder.mask_mlp[-1].out_features
        stages = len(decoder.project)
        projections: Any = decoder.project
        fuse = decoder.fuse.weight[:, :, 0, 0].chunk(stages, dim=1)[::-1]  # per stage d d; fuse reads deepest first
        self.stages = nn.ModuleList(
            make_linear(block @ project.weight, block @ project.bias)
            for block, project in zip(fuse, projections, strict=True)
        )
        code = torch.cat(tuple(decoder.class_tokens))
        self.transformer = RewrittenTransformer(decoder.transformer, code, decoder.position(side, side))
        layers: Any = decoder.upscale
        first, norm, _, second, _ = layers
        self.upscale = nn.Sequential(
            linear_from_transposed_conv(first),  # b p (2 2 c)
            Reshape(-1, 4 * side * side, first.out_channels),
            make_layer_norm(norm.weight, norm.bias, norm.eps),
            nn.GELU(),
            linear_from_transposed_conv(second),  # b (p 2 2) (2 2 m)
            nn.GELU(),
        )
        self.mask_mlp = decoder.mask_mlp

    def forward(self, features: list[Tensor]) -> Tensor:
        fused = sum_stages(self.stages, features)
        tokens, image = self.transformer(fused.reshape(-1, self.side * self.side, self.width))
        pixels = self.upscale(image).reshape(-1, 16 * self.side * self.side, self.mask_width)
        return pixels @ self.mask_mlp(tokens).transpose(1, 2)  # b (h w 2 2 2 2) n

    def to_grid(self, rows: Tensor) -> Tensor:
        """Arrange the sixteen pixels of each position: row and column of the first doubling, then of the second."""
        channels = int(rows.shape[-1])  # int(): a constant in the traced graph instead of a Shape node
        cells = rows.reshape(-1, self.side, self.side, 2, 2, 2, 2, channels)
        return cells.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, 4 * self.side, 4 * self.side, channels)


class RewrittenEdgeDecoder(nn.Module):
    """Backbone features -> rows of logits (b p n) at half the size of the input."""

    stride = 2

    def __init__(self, decoder: EdgeDecoder, size: int) -> None:
        super().__init__()
        self.side = side = size // decoder.stride
        self.rows_side = size // 2
        self.width = decoder.lateral_norm.num_features
        self.mask_width = decoder.mask_mlp[-1].out_features
        laterals: Any = decoder.lateral
        scale, shift = scale_and_shift(decoder.lateral_norm)
        self.stages = nn.ModuleList(
            make_linear(scale[:, None] * lateral.weight[:, :, 0, 0], shift if index == 0 else None)
            for index, lateral in enumerate(laterals)
        )
        self.transformer = RewrittenTransformer(decoder.transformer, decoder.class_tokens, decoder.position(side, side))
        self.refine_eighth = None if decoder.refine_eighth is None else fold_first_norm(decoder.refine_eighth)
        self.refine_quarter = fold_first_norm(decoder.refine_quarter)
        self.refine_half = fold_first_norm(decoder.refine_half)
        self.mask_mlp = decoder.mask_mlp

    def forward(self, features: list[Tensor]) -> Tensor:
        half, quarter, *deep = features
        eighth = deep.pop(0) if self.refine_eighth is not None else None
        fused = sum_stages(self.stages, deep)
        tokens, image = self.transformer(fused.reshape(-1, self.side * self.side, self.width))
        pixels = image.transpose(1, 2).reshape(-1, self.width, self.side, self.side)
        if self.refine_eighth is not None:
            pixels = self.refine_eighth(pixels, eighth)
        pixels = self.refine_half(self.refine_quarter(pixels, quarter), half)  # b m H/2 W/2
        rows = pixels.permute(0, 2, 3, 1).reshape(-1, self.rows_side * self.rows_side, self.mask_width)
        return rows @ self.mask_mlp(tokens).transpose(1, 2)  # b (H/2 W/2) n

    def to_grid(self, rows: Tensor) -> Tensor:
        return rows.reshape(-1, self.rows_side, self.rows_side, int(rows.shape[-1]))
