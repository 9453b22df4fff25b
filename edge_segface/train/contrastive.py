"""Sub-class-balanced contrastive learning on class tokens; used in training only.

Each class with enough pixels in an image gives one embedding: its token after the transformer, projected. Classes that
occur in many images are split into groups about as large as the rare classes, by k-means on the latest embeddings of
each (of the first process, where several train); rare classes are not split.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_segface.train.losses import contrastive_loss
from edge_segface.train.recipe import Contrastive

KMEANS_ROUNDS = 20
BANK = 256  # latest embeddings kept per class


def group_counts(images_with_class: Tensor, min_images: int, max_groups: int) -> Tensor:
    """Return how many groups to split each class into: its images over those of the rarest class, at least 1."""
    present = images_with_class[images_with_class > 0]
    smallest = max(int(present.min()) if len(present) else 1, min_images)
    return (images_with_class // smallest).clamp(1, max_groups)


def spherical_kmeans(points: Tensor, count: int, rounds: int = KMEANS_ROUNDS) -> Tensor:
    """Cluster unit vectors (k d) to unit centres (count d). It starts from points far apart, so it is deterministic."""
    centres = points[:1]
    while len(centres) < count:
        nearest = (points @ centres.T).amax(dim=1)
        centres = torch.cat((centres, points[nearest.argmin()][None]))
    for _ in range(rounds):
        member = F.one_hot((points @ centres.T).argmax(dim=1), count).to(points)  # k count
        sums = member.T @ points
        centres = torch.where(member.sum(dim=0)[:, None] > 0, F.normalize(sums, dim=1), centres)
    return centres


class TokenContrast(nn.Module):
    """Captures the class tokens of the decoder's transformer by a hook and turns them into a loss."""

    centres: Tensor
    grouped: Tensor
    bank: Tensor
    filled: Tensor
    temperatures: Tensor

    def __init__(self, decoder: nn.Module, width: int, images_with_class: Tensor, options: Contrastive) -> None:
        super().__init__()
        self.options = options
        self.project = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, options.width))
        classes = len(images_with_class)
        self.groups = group_counts(images_with_class, min_images=10, max_groups=options.most_groups)
        self.register_buffer("centres", torch.zeros(classes, options.most_groups, options.width))
        self.register_buffer("grouped", torch.zeros((), dtype=torch.bool))
        self.register_buffer("bank", torch.zeros(classes, BANK, options.width))
        self.register_buffer("filled", torch.zeros(classes, dtype=torch.long))
        self.register_buffer("temperatures", torch.full((classes,), options.temperature))
        self._tokens: Tensor | None = None
        decoder.transformer.register_forward_hook(self._capture)  # type: ignore[union-attr]

    def _capture(self, module: nn.Module, inputs: Any, output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG002
        self._tokens = output[0]

    def forward(self, labels: Tensor) -> Tensor:
        """Return the loss of the batch that the network has just processed, given its labels (b h w)."""
        assert self._tokens is not None
        tokens, self._tokens = self._tokens, None  # b n d
        classes = tokens.shape[1]
        counts = (labels.flatten(1)[:, None] == torch.arange(classes, device=labels.device)[:, None]).sum(dim=2)  # b n
        image, class_ids = (counts >= self.options.min_area).nonzero(as_tuple=True)  # k
        embeddings = F.normalize(self.project(tokens[image, class_ids]).float(), dim=1)  # k d
        self._store(embeddings.detach(), class_ids)
        groups = class_ids * self.options.most_groups + self._nearest_group(embeddings.detach(), class_ids)
        temperatures = self.temperatures[class_ids]
        return contrastive_loss(
            embeddings, class_ids, groups, temperatures, self.options.temperature, self.options.same_class
        )

    @torch.no_grad()
    def regroup(self) -> None:
        """Recompute the groups from the stored embeddings; scale each class's temperature by how far they spread."""
        spreads = torch.zeros(len(self.groups))
        for index, count in enumerate(self.groups.tolist()):
            filled = int(self.filled[index].clamp_max(BANK))
            if filled < count or not filled:
                continue
            points = self.bank[index, :filled]
            self.centres[index, :count] = spherical_kmeans(points, count)
            spreads[index] = (points - points.mean(dim=0)).norm(dim=1).mean() / torch.log(torch.tensor(filled + 10.0))
        present = spreads > 0
        if present.any():
            low, high = spreads[present].quantile(0.2), spreads[present].quantile(0.8)
            spreads = spreads.clamp(low, high)
            scaled = self.options.temperature * spreads / spreads[present].mean()
            split = present & (self.groups > 1)
            self.temperatures.copy_(torch.where(split, scaled, torch.tensor(self.options.temperature)))
        self.grouped.fill_(True)

    def _store(self, embeddings: Tensor, class_ids: Tensor) -> None:
        """Write embeddings into the ring buffer of their class."""
        order = class_ids.argsort(stable=True)
        counts = torch.bincount(class_ids, minlength=len(self.filled))
        starts = counts.cumsum(0) - counts
        nth = torch.arange(len(class_ids), device=class_ids.device) - starts[class_ids[order]]
        slot = (self.filled[class_ids[order]] + nth) % BANK
        self.bank[class_ids[order], slot] = embeddings[order]
        self.filled += counts

    def _nearest_group(self, embeddings: Tensor, class_ids: Tensor) -> Tensor:
        if not self.grouped:
            return torch.zeros_like(class_ids)
        scores = torch.einsum("kd,kgd->kg", embeddings, self.centres[class_ids])
        groups = self.groups.to(class_ids.device)[class_ids]  # k
        unused = torch.arange(self.options.most_groups, device=class_ids.device) >= groups[:, None]
        return scores.masked_fill(unused, -torch.inf).argmax(dim=1)
