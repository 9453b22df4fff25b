"""The module that is trained: the network and its losses."""

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
    """Maps images and labels to losses. The teacher is not a submodule: it is neither trained nor saved."""

    def __init__(
        self,
        model: SegFace,
        recipe: Recipe,
        contrast: TokenContrast | None,
        teacher: nn.Module | None,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network: nn.Module = WarpedSegFace(model) if recipe.warp else model
        self.contrast = contrast
        self.recipe = recipe
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._teacher = (teacher,)  # a tuple hides it from nn.Module

    def forward(
        self, images: Tensor, labels: Tensor, landmarks: Tensor | None, components: Tensor | None, epoch: int
    ) -> dict[str, Tensor]:
        """Return each loss unweighted, and their weighted sum as `total`.

        images (b s s 3) bytes, labels (b s s) ids, landmarks (b 5 2) pixels, components (b s s) numbers from 1
        """
        recipe = self.recipe
        labels, components = labels.long(), None if components is None else components.long()
        image = normalised(images).contiguous(memory_format=torch.channels_last)
        logits = self.network(image, landmarks) if recipe.warp else self.network(image)
        ce, dice = cross_entropy_and_dice(logits, labels, self.class_weights, only_present=recipe.dice_only_present)
        losses, weights = {"ce": ce, "dice": dice}, {"ce": recipe.ce, "dice": recipe.dice}
        if components is not None and epoch >= recipe.consensus.from_epoch:
            losses["piece_label"], losses["agreement"] = consensus_terms(
                logits, labels, components, recipe.consensus.most
            )
            weights["piece_label"] = recipe.consensus.weight * recipe.consensus.label
            weights["agreement"] = recipe.consensus.weight * recipe.consensus.agreement
        if self.contrast is not None:
            losses["contrast"] = self.contrast(labels)
            weights["contrast"] = recipe.contrastive.weight if epoch >= recipe.contrastive.from_epoch else 0.0
        if (teacher := self._teacher[0]) is not None:
            options = recipe.distillation
            with torch.no_grad():
                target = self._teacher_logits(teacher, image, landmarks, options.size or image.shape[-1])
            losses["distillation"] = distillation_loss(logits, target, options.temperature)
            weights["distillation"] = options.weight
        losses["total"] = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return losses

    def _teacher_logits(self, teacher: nn.Module, image: Tensor, landmarks: Tensor | None, size: int) -> Tensor:
        resized = resize(image, size)
        if not self.recipe.warp:
            return teacher(resized)
        assert landmarks is not None
        return teacher(resized, landmarks * size / image.shape[-1])


def resize(image: Tensor, size: int) -> Tensor:
    if image.shape[-1] == size:
        return image
    return F.interpolate(image, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
