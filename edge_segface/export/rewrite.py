"""The network rewritten for running: the same function up to float rounding, in fewer and better shaped steps.

What changes, all of it exact algebra:

- A 1x1 convolution commutes with bilinear resizing (the weights of which sum to one). So the paper's linear layers and
  its fuse become one product per stage at that stage's own size, and only sums are resized.
- Attention between few tokens and many positions is a chain of products, and products associate. Instead of projecting
  every position to keys, queries and values, the projections are absorbed into the tokens, of which there are nineteen.
  A position then meets two thin matrices per layer. What is constant along a softmax drops out of it.
- Tokens before they have seen the image depend on weights alone: the first self-attention becomes a constant.
- A 2x2 transposed convolution of stride 2 is a product per position with four results; so the upscaling head runs as
  products over rows of contiguous channels, and pixels are put in their places once, at the end.

Everything runs channels last, which is how layer norm, softmax over tokens and argmax over classes want their data.

Shapes: b batch, n classes, p positions (h * w), d width, k heads, i inner width per head, m mask width.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_segface.model.attention import Attention, TwoWayBlock, TwoWayTransformer
from edge_segface.model.edge import EdgeDecoder
from edge_segface.model.paper import PaperDecoder
from edge_segface.model.segface import SegFace


@torch.no_grad()
def rewritten(model: SegFace, size: int) -> RewrittenSegFace:
    """`model` for one square input size: normalised RGB (b 3 s s) -> logits, channels last, at the decoder's stride.

    The logits' rows may be in an order of the decoder's own; `place` of the result puts rows of anything, logits or
    classes, into (b h w ...).
    """
    model = copy.deepcopy(model).eval()
    if isinstance(model.decoder, PaperDecoder):
        return RewrittenSegFace(model, RewrittenPaperDecoder(model.decoder, size))
    if isinstance(model.decoder, EdgeDecoder):
        return RewrittenSegFace(model, RewrittenEdgeDecoder(model.decoder, size))
    raise TypeError(f"no rewrite is written for {type(model.decoder).__name__}")


class RewrittenSegFace(nn.Module):
    class_offset: Tensor | None

    def __init__(self, model: SegFace, decoder: RewrittenPaperDecoder | RewrittenEdgeDecoder) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.decoder = decoder
        self.stride = decoder.stride
        self.register_buffer("class_offset", model.class_offset)

    def place(self, rows: Tensor) -> Tensor:
        return self.decoder.place(rows)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.backbone(image))
        return logits if self.class_offset is None else logits + self.class_offset


class RewrittenPaperDecoder(nn.Module):
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
            linear(block @ project.weight, block @ project.bias)
            for block, project in zip(fuse, projections, strict=True)
        )
        code = torch.cat(tuple(decoder.class_tokens))
        self.transformer = RewrittenTransformer(decoder.transformer, code, decoder.position(side, side))
        layers: Any = decoder.upscale
        first, norm, _, second, _ = layers
        self.upscale = nn.Sequential(
            two_by_two(first),  # b p (2 2 c)
            Reshape(-1, 4 * side * side, first.out_channels),
            layer_norm(norm.weight, norm.bias, norm.eps),
            nn.GELU(),
            two_by_two(second),  # b (p 2 2) (2 2 m)
            nn.GELU(),
        )
        self.mask_mlp = decoder.mask_mlp

    def forward(self, features: list[Tensor]) -> Tensor:
        fused = summed_at_first_size(self.stages, features)
        tokens, image = self.transformer(fused.reshape(-1, self.side * self.side, self.width))
        pixels = self.upscale(image).reshape(-1, 16 * self.side * self.side, self.mask_width)
        return pixels @ self.mask_mlp(tokens).transpose(1, 2)  # b (h w 2 2 2 2) n

    def place(self, rows: Tensor) -> Tensor:
        """Each position's sixteen pixels come as rows, columns of the first doubling, then of the second."""
        each = int(rows.shape[-1])  # an int even while tracing: a number in the graph, not a question
        cells = rows.reshape(-1, self.side, self.side, 2, 2, 2, 2, each)
        return cells.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, 4 * self.side, 4 * self.side, each)


class RewrittenEdgeDecoder(nn.Module):
    stride = 2

    def __init__(self, decoder: EdgeDecoder, size: int) -> None:
        super().__init__()
        self.side = side = size // 8
        self.width = decoder.lateral_norm.num_features
        self.mask_width = decoder.mask_mlp[-1].out_features
        laterals: Any = decoder.lateral
        scale, shift = scale_and_shift(decoder.lateral_norm)
        self.stages = nn.ModuleList(
            linear(scale[:, None] * lateral.weight[:, :, 0, 0], shift if index == 0 else None)
            for index, lateral in enumerate(laterals)
        )
        self.transformer = RewrittenTransformer(decoder.transformer, decoder.class_tokens, decoder.position(side, side))
        self.refine_quarter = without_first_norm(decoder.refine_quarter)
        self.refine_half = without_first_norm(decoder.refine_half)
        self.mask_mlp = decoder.mask_mlp

    def forward(self, features: list[Tensor]) -> Tensor:
        half, quarter, *deep = features
        fused = summed_at_first_size(self.stages, deep)
        tokens, image = self.transformer(fused.reshape(-1, self.side * self.side, self.width))
        pixels = image.transpose(1, 2).reshape(-1, self.width, self.side, self.side)
        pixels = self.refine_half(self.refine_quarter(pixels, quarter), half)  # b m 4h 4w
        rows = pixels.permute(0, 2, 3, 1).reshape(-1, 16 * self.side * self.side, self.mask_width)
        return rows @ self.mask_mlp(tokens).transpose(1, 2)  # b (4h 4w) n

    def place(self, rows: Tensor) -> Tensor:
        return rows.reshape(-1, 4 * self.side, 4 * self.side, int(rows.shape[-1]))


class RewrittenTransformer(nn.Module):
    """Image (b p d) -> tokens (b n d), image (b p d)."""

    token_code: Tensor
    first_tokens: Tensor
    image_code: Tensor

    def __init__(self, transformer: TwoWayTransformer, token_code: Tensor, image_code: Tensor) -> None:
        super().__init__()
        blocks: Any = transformer.blocks
        first, *rest = blocks
        code = token_code[None]  # 1 n d
        self.register_buffer("token_code", code.clone())
        self.register_buffer("image_code", image_code)
        self.register_buffer("first_tokens", first.attend_to_self(code, code))
        counts = {"tokens": len(token_code), "positions": len(image_code)}
        self.blocks = nn.ModuleList(RewrittenBlock(block, **counts) for block in (first, *rest))
        self.final_attention = TokensFromImage(transformer.final_attention, len(token_code))
        self.norm_final = transformer.norm_final

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.first_tokens
        block: Any
        for block in self.blocks:
            tokens = block.attend_to_self(tokens, self.token_code)
            tokens, image = block(tokens, image, self.token_code, self.image_code)
        tokens = self.norm_final(
            tokens + self.final_attention(tokens + self.token_code, image + self.image_code, image)
        )
        return tokens, image


class RewrittenBlock(nn.Module):
    def __init__(self, block: TwoWayBlock, tokens: int, positions: int) -> None:
        super().__init__()
        self.block = block
        self.self_attention = None if block.first else TokensAmongThemselves(block.self_attention, tokens)
        self.tokens_from_image = TokensFromImage(block.tokens_to_image, tokens)
        self.image_from_tokens = ImageFromTokens(block.image_to_tokens, tokens, positions)

    def attend_to_self(self, tokens: Tensor, token_code: Tensor) -> Tensor:
        if self.self_attention is None:  # the first: its result is a constant already
            return tokens
        return self.block.norm_self(tokens + self.self_attention(tokens + token_code, tokens))

    def forward(self, tokens: Tensor, image: Tensor, token_code: Tensor, image_code: Tensor) -> tuple[Tensor, Tensor]:
        coded_image = image + image_code
        tokens = self.block.norm_tokens(tokens + self.tokens_from_image(tokens + token_code, coded_image, image))
        tokens = self.block.norm_mlp(tokens + self.block.mlp(tokens))
        image = self.block.norm_image(image + self.image_from_tokens(coded_image, tokens + token_code, tokens))
        return tokens, image


class TokensAmongThemselves(nn.Module):
    """Plain attention with its sizes written down, so that the graph need not ask for them."""

    def __init__(self, attention: Attention, tokens: int) -> None:
        super().__init__()
        self.attention = attention
        self.split = (-1, tokens, attention.heads, attention.key.out_features // attention.heads)
        self.scale = 1 / root_of_inner(attention)

    def forward(self, coded: Tensor, tokens: Tensor) -> Tensor:
        q = self.attention.query(coded).reshape(self.split).transpose(1, 2)  # b k n i
        k = self.attention.key(coded).reshape(self.split).transpose(1, 2)
        v = self.attention.value(tokens).reshape(self.split).transpose(1, 2)
        weight = (q @ k.transpose(2, 3) * self.scale).softmax(dim=-1)  # b k n n
        return self.attention.out(
            (weight @ v).transpose(1, 2).reshape(-1, self.split[1], self.split[2] * self.split[3])
        )


class TokensFromImage(nn.Module):
    """Attention from tokens to positions, with the projections of keys and values moved over to the tokens."""

    def __init__(self, attention: Attention, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.query = attention.query
        self.key = nn.Parameter(per_head(attention.key.weight, attention.heads) / root_of_inner(attention))  # k i d
        self.value = nn.Parameter(per_head(attention.value.weight, attention.heads).transpose(1, 2))  # k d i
        # The softmax sums to one, so the bias of the values passes straight through to the output.
        self.out = linear(attention.out.weight, attention.out.bias + attention.out.weight @ attention.value.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        heads, inner, width = self.key.shape
        q = self.query(query).reshape(-1, self.tokens, heads, inner).transpose(1, 2)  # b k n i
        probe = (q @ self.key).reshape(-1, heads * self.tokens, width)  # b (k n) d
        weight = (probe @ key.transpose(1, 2)).softmax(dim=-1)  # b (k n) p
        seen = (weight @ value).reshape(-1, heads, self.tokens, width)  # b k n d
        return self.out((seen @ self.value).transpose(1, 2).reshape(-1, self.tokens, heads * inner))  # b n d


class ImageFromTokens(nn.Module):
    """Attention from positions to tokens, with the projections of queries and output moved over to the tokens."""

    def __init__(self, attention: Attention, tokens: int, positions: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.positions = positions
        self.key = attention.key
        self.value = attention.value
        scale = root_of_inner(attention)
        self.query = nn.Parameter(per_head(attention.query.weight, attention.heads) / scale)  # k i d
        self.query_bias = nn.Parameter(per_head(attention.query.bias, attention.heads)[..., None] / scale)  # k i 1
        self.out = nn.Parameter(per_head(attention.out.weight.T, attention.heads))  # k i d
        self.out_bias = attention.out.bias

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        heads, inner, width = self.query.shape
        columns = heads * self.tokens
        k = self.key(key).reshape(-1, self.tokens, heads, inner).transpose(1, 2)  # b k n i
        v = self.value(value).reshape(-1, self.tokens, heads, inner).transpose(1, 2)
        probe = (k @ self.query).reshape(-1, columns, width)  # b (k n) d
        offset = (k @ self.query_bias).reshape(-1, 1, columns)
        score = query @ probe.transpose(1, 2) + offset  # b p (k n)
        weight = score.reshape(-1, self.positions, heads, self.tokens).softmax(dim=-1)
        weight = weight.reshape(-1, self.positions, columns)
        return weight @ (v @ self.out).reshape(-1, columns, width) + self.out_bias  # b p d


def per_head(weight: Tensor, heads: int) -> Tensor:
    """(k*i ...) -> (k i ...)"""
    return weight.reshape(heads, -1, *weight.shape[1:])


def root_of_inner(attention: Attention) -> float:
    return math.sqrt(attention.key.out_features / attention.heads)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.copy_(weight)
    if bias is not None:
        layer.bias.copy_(bias)
    return layer


def layer_norm(weight: Tensor, bias: Tensor, eps: float) -> nn.LayerNorm:
    layer = nn.LayerNorm(weight.shape[0], eps)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return layer


def scale_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    """What a batch norm does in evaluation: x * scale + shift."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def without_first_norm(refine: Any) -> Any:
    """The norm over a sum of two 1x1 convolutions, moved into both of them, in place."""
    scale, shift = scale_and_shift(refine.join[0])
    for convolution, extra in ((refine.from_deep, shift), (refine.from_shallow, 0)):
        convolution.weight.mul_(scale[:, None, None, None])
        convolution.bias.mul_(scale).add_(extra)
    refine.join = refine.join[1:]
    return refine


def two_by_two(convolution: nn.ConvTranspose2d) -> nn.Linear:
    """A transposed convolution of kernel 2 and stride 2 as one product: c -> (2 2 out)."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)  # c out 2 2 -> (2 2 out) c
    bias: Any = convolution.bias
    return linear(weight, bias.repeat(4))


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
        nothing = g.op("Constant", value_t=torch.tensor([], dtype=torch.float32))
        scales = g.op("Constant", value_t=torch.tensor([1, factor, factor, 1], dtype=torch.float32))
        return g.op("Resize", x, nothing, scales, mode_s="linear", coordinate_transformation_mode_s="half_pixel")


def resized_channels_last(x: Tensor, factor: int) -> Tensor:
    return x if factor == 1 else ResizeChannelsLast.apply(x, factor)


def summed_at_first_size(stages: nn.ModuleList, features: list[Tensor]) -> Tensor:
    """Each feature (b c h w), every one half the size of the one before, through its stage -> sum (b h w d)"""
    total = stages[0](features[0].permute(0, 2, 3, 1))
    for index in range(1, len(features)):
        total = total + resized_channels_last(stages[index](features[index].permute(0, 2, 3, 1)), 2**index)
    return total
