"""The warp in PyTorch, for batches and with gradients: used to train the LaPa variant, and the reference for `running`.

Float32 with the official order of operations, constants included: near the rim, where atanh is steep, the last bits of
a grid change a logit by 1e-4.

Shapes: b batch, s side of the square.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_segface.warp.grids import ALMOST_ONE, SQUEEZED_PART, TARGETS_512_XY


class WarpedSegFace(nn.Module):
    """A network between the warp and its inverse: image (b 3 s s), landmarks (b 5 2) in pixels -> logits (b n s s)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, landmarks_xy: Tensor) -> Tensor:
        size = image.shape[-1]
        logits = self.network(sampled(image, warp_grid(landmarks_xy, size)))
        return sampled(logits, unwarp_grid(landmarks_xy, size))


def sampled(x: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(x, grid.to(x.dtype), mode="bilinear", padding_mode="zeros", align_corners=False)


def warp_grid(landmarks_xy: Tensor, size: int) -> Tensor:
    """Return the grid (b s s 2) for `grid_sample`: where each pixel of the warped image comes from."""
    places = (stretch(_indices(size, landmarks_xy) / size * 2 - 1) + 1) / 2 * size
    return _moved(places, torch.linalg.inv(similarity(landmarks_xy, size))) / size * 2 - 1


def unwarp_grid(landmarks_xy: Tensor, size: int) -> Tensor:
    """Return the grid (b s s 2) for `grid_sample`: where each pixel of the plain image is in the warped one."""
    return squeeze(_moved(_indices(size, landmarks_xy), similarity(landmarks_xy, size)) / size * 2 - 1)


def similarity(landmarks_xy: Tensor, size: int) -> Tensor:
    """(b 5 2) -> (b 3 3)"""
    targets = (torch.as_tensor(TARGETS_512_XY).to(landmarks_xy) / 256 - 1 + 1) * (size - 1) / 2  # 5 2
    from_mean, to_mean = landmarks_xy.mean(dim=1), targets.mean(dim=0)
    source, target = landmarks_xy - from_mean[:, None], targets - to_mean
    spread = source.square().sum(dim=(1, 2))
    a = (target * source).sum(dim=(1, 2)) / spread
    b = (target[:, 0] * source[..., 1] - target[:, 1] * source[..., 0]).sum(dim=1) / spread
    shift_x = to_mean[0] - a * from_mean[:, 0] - b * from_mean[:, 1]
    shift_y = to_mean[1] + b * from_mean[:, 0] - a * from_mean[:, 1]
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    return torch.stack((a, b, shift_x, -b, a, shift_y, zero, zero, one), dim=1).reshape(-1, 3, 3)


def squeeze(place: Tensor) -> Tensor:
    return _beyond_the_linear_part(place, torch.tanh)


def stretch(place: Tensor) -> Tensor:
    return _beyond_the_linear_part(place, lambda beyond: beyond.clamp(-ALMOST_ONE, ALMOST_ONE).atanh())


def _beyond_the_linear_part(place: Tensor, bend: Callable[[Tensor], Tensor]) -> Tensor:
    edge = SQUEEZED_PART
    right = bend((place - 1 + edge) / edge) * edge + 1 - edge
    left = bend((place + 1 - edge) / edge) * edge - 1 + edge
    return torch.where(place > 1 - edge, right, torch.where(place < edge - 1, left, place))


def _moved(points_xy: Tensor, matrix: Tensor) -> Tensor:
    """Map (s s 2) through (b 3 3) to (b s s 2), in full precision: half precision would be off by pixels."""
    rows = F.pad(points_xy, (0, 1), value=1.0).flatten(0, 1)  # (s s) 3
    with torch.autocast(points_xy.device.type, enabled=False):
        return (rows @ matrix.mT)[..., :2].reshape(-1, *points_xy.shape)


def _indices(size: int, like: Tensor) -> Tensor:
    index = torch.arange(size, device=like.device, dtype=like.dtype)
    y, x = torch.meshgrid(index, index, indexing="ij")
    return torch.stack((x, y), dim=-1)  # s s 2
