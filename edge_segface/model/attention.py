"""Two-way attention between a few class tokens and all positions of the image.

Shapes: b batch, t class tokens, p image positions (h * w), d width, i inner width of an attention, k heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than that of its inputs and output."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q = self._split(self.query(query))  # b k t i/k
        k = self._split(self.key(key))
        v = self._split(self.value(value))
        attended = F.scaled_dot_product_attention(q, k, v)  # b k t i/k
        return self.out(attended.transpose(1, 2).flatten(2))  # b t d

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class TwoWayBlock(nn.Module):
    """Self-attention of the tokens, attention from tokens to image, an MLP, and attention from image to tokens.

    The tokens that enter the first block of a stack are their own position code, so its self-attention adds neither the
    code nor a residual. SAM and SegFace were trained that way, so their weights depend on it.
    """

    def __init__(self, width: int, heads: int, cross_inner: int, hidden: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attention = Attention(width, heads, width)
        self.norm_self = nn.LayerNorm(width)
        self.tokens_to_image = Attention(width, heads, cross_inner)
        self.norm_tokens = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.norm_mlp = nn.LayerNorm(width)
        self.image_to_tokens = Attention(width, heads, cross_inner)
        self.norm_image = nn.LayerNorm(width)

    def attend_to_self(self, tokens: Tensor, token_code: Tensor) -> Tensor:
        if self.first:
            return self.norm_self(self.self_attention(tokens, tokens, tokens))
        coded = tokens + token_code
        return self.norm_self(tokens + self.self_attention(coded, coded, tokens))

    def forward(self, tokens: Tensor, image: Tensor, token_code: Tensor, image_code: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.attend_to_self(tokens, token_code)  # b t d
        coded_image = image + image_code  # b p d
        tokens = self.norm_tokens(tokens + self.tokens_to_image(tokens + token_code, coded_image, image))
        tokens = self.norm_mlp(tokens + self.mlp(tokens))
        image = self.norm_image(image + self.image_to_tokens(coded_image, tokens + token_code, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """A stack of two-way blocks with a final attention from tokens to image, as in SAM."""

    def __init__(self, width: int, depth: int, heads: int, cross_inner: int, hidden: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            TwoWayBlock(width, heads, cross_inner, hidden, first=index == 0) for index in range(depth)
        )
        self.final_attention = Attention(width, heads, cross_inner)
        self.norm_final = nn.LayerNorm(width)

    def forward(self, token_code: Tensor, image: Tensor, image_code: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (b t d) and image (b p d), given tokens (b t d), image (b p d) and its position code (p d)."""
        tokens = token_code
        for block in self.blocks:
            tokens, image = block(tokens, image, token_code, image_code)
        tokens = self.norm_final(tokens + self.final_attention(tokens + token_code, image + image_code, image))
        return tokens, image


class FourierPosition(nn.Module):
    """Random Fourier features of the normalised pixel centre; the random matrix is saved with the weights."""

    gaussian: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("gaussian", torch.randn(2, width // 2))

    def forward(self, height: int, width: int) -> Tensor:
        """Return (p d), row by row, always in full precision: the angles far exceed one turn."""
        with torch.autocast(self.gaussian.device.type, enabled=False):
            y = (torch.arange(height).to(self.gaussian) + 0.5) / height
            x = (torch.arange(width).to(self.gaussian) + 0.5) / width
            grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
            centre_xy = torch.stack((grid_x, grid_y), dim=-1).flatten(0, 1) * 2 - 1  # p 2
            angle = 2 * torch.pi * (centre_xy @ self.gaussian)  # p d/2
            return torch.cat((angle.sin(), angle.cos()), dim=-1)
