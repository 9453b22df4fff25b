"""The two-way transformer of the decoders, with its projections absorbed into the class tokens (see `rewrite`).

Shapes: b batch, n classes, p positions (h * w), d width, k heads, i inner width per head.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from edge_segface.export.rewrite_layers import make_linear
from edge_segface.model.attention import Attention, TwoWayBlock, TwoWayTransformer


class RewrittenTransformer(nn.Module):
    """Let tokens and image attend to each other: image (b p d) -> tokens (b n d), image (b p d)."""

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
    """One two-way block: tokens attend to the image, then the image to the tokens."""

    def __init__(self, block: TwoWayBlock, tokens: int, positions: int) -> None:
        super().__init__()
        self.block = block
        self.self_attention = None if block.first else TokenSelfAttention(block.self_attention, tokens)
        self.tokens_from_image = TokensFromImage(block.tokens_to_image, tokens)
        self.image_from_tokens = ImageFromTokens(block.image_to_tokens, tokens, positions)

    def attend_to_self(self, tokens: Tensor, token_code: Tensor) -> Tensor:
        if self.self_attention is None:  # first block: the result is stored as a constant
            return tokens
        return self.block.norm_self(tokens + self.self_attention(tokens + token_code, tokens))

    def forward(self, tokens: Tensor, image: Tensor, token_code: Tensor, image_code: Tensor) -> tuple[Tensor, Tensor]:
        coded_image = image + image_code
        tokens = self.block.norm_tokens(tokens + self.tokens_from_image(tokens + token_code, coded_image, image))
        tokens = self.block.norm_mlp(tokens + self.block.mlp(tokens))
        image = self.block.norm_image(image + self.image_from_tokens(coded_image, tokens + token_code, tokens))
        return tokens, image


class TokenSelfAttention(nn.Module):
    """Plain self-attention with literal sizes, so that the traced graph does not compute them."""

    def __init__(self, attention: Attention, tokens: int) -> None:
        super().__init__()
        self.attention = attention
        self.split = (-1, tokens, attention.heads, attention.key.out_features // attention.heads)
        self.scale = 1 / sqrt_head_width(attention)

    def forward(self, coded: Tensor, tokens: Tensor) -> Tensor:
        q = self.attention.query(coded).reshape(self.split).transpose(1, 2)  # b k n i
        k = self.attention.key(coded).reshape(self.split).transpose(1, 2)
        v = self.attention.value(tokens).reshape(self.split).transpose(1, 2)
        weight = (q @ k.transpose(2, 3) * self.scale).softmax(dim=-1)  # b k n n
        return self.attention.out(
            (weight @ v).transpose(1, 2).reshape(-1, self.split[1], self.split[2] * self.split[3])
        )


class TokensFromImage(nn.Module):
    """Attention from tokens to positions, with the key and value projections moved to the tokens."""

    def __init__(self, attention: Attention, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.query = attention.query
        scale = sqrt_head_width(attention)
        self.key = nn.Parameter(split_heads(attention.key.weight, attention.heads) / scale)  # k i d
        self.value = nn.Parameter(split_heads(attention.value.weight, attention.heads).transpose(1, 2))  # k d i
        # Softmax weights sum to one, so the value bias passes unchanged to the output.
        self.out = make_linear(attention.out.weight, attention.out.bias + attention.out.weight @ attention.value.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        heads, inner, width = self.key.shape
        q = self.query(query).reshape(-1, self.tokens, heads, inner).transpose(1, 2)  # b k n i
        probe = (q @ self.key).reshape(-1, heads * self.tokens, width)  # b (k n) d
        weight = (probe @ key.transpose(1, 2)).softmax(dim=-1)  # b (k n) p
        attended = (weight @ value).reshape(-1, heads, self.tokens, width)  # b k n d
        return self.out((attended @ self.value).transpose(1, 2).reshape(-1, self.tokens, heads * inner))  # b n d


class ImageFromTokens(nn.Module):
    """Attention from positions to tokens, with the query and output projections moved to the tokens."""

    def __init__(self, attention: Attention, tokens: int, positions: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.positions = positions
        self.key = attention.key
        self.value = attention.value
        scale = sqrt_head_width(attention)
        self.query = nn.Parameter(split_heads(attention.query.weight, attention.heads) / scale)  # k i d
        self.query_bias = nn.Parameter(split_heads(attention.query.bias, attention.heads)[..., None] / scale)  # k i 1
        self.out = nn.Parameter(split_heads(attention.out.weight.T, attention.heads))  # k i d
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


def split_heads(weight: Tensor, heads: int) -> Tensor:
    """Reshape (k*i ...) to (k i ...)."""
    return weight.reshape(heads, -1, *weight.shape[1:])


def sqrt_head_width(attention: Attention) -> float:
    return math.sqrt(attention.key.out_features / attention.heads)
