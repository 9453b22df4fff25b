"""All that gradients flow through: the network, its losses, and what only training needs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_segface.model.segface import SegFace, normalised
from edge_segface.train.contrastive import TokenContrast
from edge_segface.train.losses import consensus_terms, cross_entropy_and_dice, distillation_loss
from edge_segface.train.recipe import Recipe
from edge_segface.warp.training import WarpedSegFace


class Learner(nn.Module):
    """Pictures and labels in, losses out. The teacher is no part of the module: it is neither trained nor saved."""

    def __init__(
        self, model: SegFace, recipe: Recipe, contrast: TokenContrast | None, teacher: nn.Module | None
    ) -> None:
        super().__init__()
        self.network: nn.Module = WarpedSegFace(model) if recipe.warp else model
        self.contrast = contrast
        self.recipe = recipe
        self._teacher = (teacher,)

    def forward(
        self, images: Tensor, labels: Tensor, landmarks: Tensor | None, pieces: Tensor | None, epoch: int
    ) -> dict[str, Tensor]:
        """Bytes (b s s 3), ids (b s s), points (b 5 2), pieces (b s s) -> each loss unweighted, and their `total`."""
        recipe = self.recipe
        labels, pieces = labels.long(), None if pieces is None else pieces.long()
        image = normalised(images).contiguous(memory_format=torch.channels_last)
        logits = self.network(image, landmarks) if recipe.warp else self.network(image)
        ce, dice = cross_entropy_and_dice(logits, labels)
        losses, weights = {"ce": ce, "dice": dice}, {"ce": recipe.ce, "dice": recipe.dice}
        if pieces is not None and epoch >= recipe.consensus.from_epoch:
            losses["piece_label"], losses["agreement"] = consensus_terms(logits, labels, pieces, recipe.consensus.most)
            weights["piece_label"] = recipe.consensus.weight * recipe.consensus.label
            weights["agreement"] = recipe.consensus.weight * recipe.consensus.agreement
        if self.contrast is not None:
            losses["contrast"] = self.contrast(labels)
            weights["contrast"] = recipe.contrastive.weight if epoch >= recipe.contrastive.from_epoch else 0.0
        if (teacher := self._teacher[0]) is not None:
            options = recipe.distillation
            with torch.no_grad():
                taught = self._taught(teacher, image, landmarks, options.size or image.shape[-1])
            losses["distillation"] = distillation_loss(logits, taught, options.temperature)
            weights["distillation"] = options.weight
        losses["total"] = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return losses

    def _taught(self, teacher: nn.Module, image: Tensor, landmarks: Tensor | None, size: int) -> Tensor:
        seen = resized(image, size)
        if not self.recipe.warp:
            return teacher(seen)
        assert landmarks is not None
        return teacher(seen, landmarks * size / image.shape[-1])


def resized(image: Tensor, size: int) -> Tensor:
    if image.shape[-1] == size:
        return image
    return F.interpolate(image, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
