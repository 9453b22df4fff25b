"""Sub-class-balanced contrastive learning on class tokens, thrown away after training.

Every class that a picture shows well enough gives one embedding: its token behind the transformer, projected. Classes
that many pictures show are split into groups about as large as the rare classes, by k-means on the last embeddings of
each (of the leading process, where several train); rare classes stay whole.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_segface.train.losses import contrastive_loss
from edge_segface.train.recipe import Contrastive

KMEANS_ROUNDS = 20
BANK = 256  # embeddings kept a class


def group_counts(pictures_with: Tensor, least: int, most: int) -> Tensor:
    """How many groups each class is split into: its pictures over those of the rarest class, from 1 to `most`."""
    there = pictures_with[pictures_with > 0]
    smallest = max(int(there.min()) if len(there) else 1, least)
    return (pictures_with // smallest).clamp(1, most)


def spherical_kmeans(points: Tensor, count: int, rounds: int = KMEANS_ROUNDS) -> Tensor:
    """Unit vectors (k d) -> unit centres (count d); starts from points far from each other, so it needs no chance."""
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
    """Watches the decoder's transformer and turns its class tokens into a loss."""

    centres: Tensor
    grouped: Tensor
    bank: Tensor
    filled: Tensor
    temperatures: Tensor

    def __init__(self, decoder: nn.Module, width: int, pictures_with: Tensor, options: Contrastive) -> None:
        super().__init__()
        self.options = options
        self.project = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, options.width))
        classes = len(pictures_with)
        self.groups = group_counts(pictures_with, least=10, most=options.most_groups)
        self.register_buffer("centres", torch.zeros(classes, options.most_groups, options.width))
        self.register_buffer("grouped", torch.zeros((), dtype=torch.bool))
        self.register_buffer("bank", torch.zeros(classes, BANK, options.width))
        self.register_buffer("filled", torch.zeros(classes, dtype=torch.long))
        self.register_buffer("temperatures", torch.full((classes,), options.temperature))
        self._tokens: Tensor | None = None
        decoder.transformer.register_forward_hook(self._keep)  # type: ignore[union-attr]

    def _keep(self, module: nn.Module, inputs: Any, output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG002
        self._tokens = output[0]

    def forward(self, labels: Tensor) -> Tensor:
        """(b h w), of the batch that the network has just seen."""
        assert self._tokens is not None
        tokens, self._tokens = self._tokens, None  # b n d
        classes = tokens.shape[1]
        counts = (labels.flatten(1)[:, None] == torch.arange(classes, device=labels.device)[:, None]).sum(dim=2)  # b n
        picture, which = (counts >= self.options.min_area).nonzero(as_tuple=True)
        embeddings = F.normalize(self.project(tokens[picture, which]).float(), dim=1)
        self._remember(embeddings.detach(), which)
        groups = which * self.options.most_groups + self._group_of(embeddings.detach(), which)
        temperatures = self.temperatures[which]
        return contrastive_loss(
            embeddings, which, groups, temperatures, self.options.temperature, self.options.same_class
        )

    @torch.no_grad()
    def regroup(self) -> None:
        """Groups anew, from what was remembered; classes' temperatures follow how far their embeddings are spread."""
        spreads = torch.zeros(len(self.groups))
        for index, count in enumerate(self.groups.tolist()):
            filled = int(self.filled[index].clamp_max(BANK))
            if filled < count or not filled:
                continue
            points = self.bank[index, :filled]
            self.centres[index, :count] = spherical_kmeans(points, count)
            spreads[index] = (points - points.mean(dim=0)).norm(dim=1).mean() / torch.log(torch.tensor(filled + 10.0))
        there = spreads > 0
        if there.any():
            low, high = spreads[there].quantile(0.2), spreads[there].quantile(0.8)
            spreads = spreads.clamp(low, high)
            scaled = self.options.temperature * spreads / spreads[there].mean()
            split = there & (self.groups > 1)
            self.temperatures.copy_(torch.where(split, scaled, torch.tensor(self.options.temperature)))
        self.grouped.fill_(True)

    def _remember(self, embeddings: Tensor, which: Tensor) -> None:
        order = which.argsort(stable=True)
        counts = torch.bincount(which, minlength=len(self.filled))
        nth = torch.arange(len(which), device=which.device) - (counts.cumsum(0) - counts)[which[order]]
        slot = (self.filled[which[order]] + nth) % BANK
        self.bank[which[order], slot] = embeddings[order]
        self.filled += counts

    def _group_of(self, embeddings: Tensor, which: Tensor) -> Tensor:
        if not self.grouped:
            return torch.zeros_like(which)
        scores = torch.einsum("kd,kgd->kg", embeddings, self.centres[which])
        beyond = (
            torch.arange(self.options.most_groups, device=which.device) >= self.groups.to(which.device)[which][:, None]
        )
        return scores.masked_fill(beyond, -torch.inf).argmax(dim=1)
