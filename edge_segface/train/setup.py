"""Builds what a run starts from: network, losses, optimizer and learning rate, with checks of the recipe."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from edge_segface.data import Dataset
from edge_segface.data.sampling import Batches
from edge_segface.errors import TrainingError
from edge_segface.labels import label_space
from edge_segface.model.build import PRESETS
from edge_segface.model.checkpoint import load_weights
from edge_segface.model.segface import SegFace
from edge_segface.models import resolve_checkpoint
from edge_segface.train.backbone import load_backbone
from edge_segface.train.contrastive import TokenContrast
from edge_segface.train.learner import Learner
from edge_segface.train.losses import rarity_weights
from edge_segface.train.recipe import Recipe, Schedule
from edge_segface.warp.training import WarpedSegFace


def check_landmarks(recipe: Recipe, train_set: Dataset) -> None:
    """Raise if the recipe's warp needs landmarks that the dataset does not have."""
    if recipe.warp and train_set[0].landmarks_xy is None:
        raise TrainingError(
            f"{recipe.warp} needs five landmarks a face",
            found=f"{train_set.kind} has none",
            remedy="use LaPa or Helen, or add --set warp=null",
        )


def check_batches(batches: Batches, images: int) -> None:
    """Raise if a batch cannot be divided among processes, or is larger than the dataset."""
    parts = batches.processes * batches.accumulate
    if batches.batch % parts:
        raise TrainingError(
            f"a batch of {batches.batch} cannot be divided evenly",
            found=f"{batches.processes} processes, accumulated over {batches.accumulate} passes",
            remedy=f"add --set batch={max(1, batches.batch // parts) * parts}",
        )
    if batches.steps_per_epoch < 1:
        raise TrainingError(
            f"{images} images do not fill a batch of {batches.batch}", remedy=f"add --set batch={images} or less"
        )


def starting_network(recipe: Recipe, *, resume: bool = False) -> SegFace:
    """Build the recipe's network and load the weights it starts from; a resumed run has all weights in its state."""
    space = label_space(recipe.label_space)
    model = PRESETS[recipe.preset](len(space))
    if recipe.backbone and not resume:
        load_backbone(model, recipe.preset, recipe.backbone)
    if recipe.start_from and not resume:
        start = load_weights(Path(recipe.start_from), space)
        if start.preset != recipe.preset:
            raise TrainingError(
                f"cannot start {recipe.preset} from {recipe.start_from}",
                found=f"a checkpoint of {start.preset}",
                remedy=f"add --set preset={start.preset}, or give a checkpoint of {recipe.preset}",
            )
        start.model.class_offset = None  # it was tuned for the final weights of that training
        model.load_state_dict(start.model.state_dict())
    return model.to(memory_format=torch.channels_last)


def make_learner(model: SegFace, recipe: Recipe, pixels: npt.NDArray[np.int64], device: torch.device) -> Learner:
    """Join the network with what its losses need: the contrastive head and the teacher, where the recipe has them.

    `pixels` (samples, classes) counts the pixels of each class.
    """
    contrast = teacher = None
    if recipe.contrastive.weight:
        width = int(model.decoder.transformer.norm_final.normalized_shape[0])  # type: ignore[union-attr, index]
        contrast = TokenContrast(model.decoder, width, torch.from_numpy((pixels > 0).sum(axis=0)), recipe.contrastive)
    if path := recipe.distillation.teacher:
        weights = load_weights(resolve_checkpoint(path), label_space(recipe.label_space))
        if weights.warp != recipe.warp:
            raise TrainingError(
                f"{path} cannot teach {recipe.preset}",
                found=f"warp {weights.warp or 'none'} in the teacher, {recipe.warp or 'none'} in the recipe",
                remedy="give a teacher with the same warp",
            )
        network = weights.model.requires_grad_(False).eval()
        teacher = (WarpedSegFace(network) if recipe.warp else network).to(device)
    class_weights = rarity_weights(torch.from_numpy(pixels.sum(axis=0)), recipe.rarity) if recipe.rarity else None
    return Learner(model, recipe, contrast, teacher, class_weights)


def make_optimizer(learner: Learner, recipe: Recipe) -> torch.optim.Optimizer:
    """Build AdamW, with weight decay on biases and norms only if the recipe says so."""
    options = recipe.optimizer
    parameters = list(learner.parameters())
    if options.decay_all:
        return torch.optim.AdamW(parameters, lr=options.lr, weight_decay=options.weight_decay)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.lr)


def learning_rate(schedule: Schedule, lr: float, step: int, steps: int, steps_per_epoch: int) -> float:
    """Return the rate of a step, counted from 0. It depends on no earlier step, so resuming cannot change it."""
    warm_up = min(1.0, (step + 1) / schedule.warm_up_steps) if schedule.warm_up_steps else 1.0
    if schedule.kind == "steps":
        passed = sum(step >= milestone * steps_per_epoch for milestone in schedule.milestones)
        return lr * warm_up * schedule.gamma**passed
    return lr * warm_up * (schedule.floor + (1 - schedule.floor) * (1 + math.cos(math.pi * step / steps)) / 2)
