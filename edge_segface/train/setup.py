"""What a run starts from: devices, network, losses, optimizer."""

from __future__ import annotations

import logging
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric

from edge_segface.data.sample import Dataset
from edge_segface.data.sampling import Batches
from edge_segface.errors import TrainingError, first_line
from edge_segface.labels import label_space
from edge_segface.model.build import PRESETS
from edge_segface.model.checkpoint import load_weights
from edge_segface.model.segface import SegFace
from edge_segface.train.backbone import load_backbone
from edge_segface.train.contrastive import TokenContrast
from edge_segface.train.learner import Learner
from edge_segface.train.recipe import Recipe, Schedule
from edge_segface.warp.training import WarpedSegFace

PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Devices:
    """Where to train. Under torchrun the processes that it started are taken, whatever `devices` and `nodes` say."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    accumulate: int = 1
    workers: int = 2 if sys.platform == "linux" else 0  # which share an open dataset by fork


def start_fabric(recipe: Recipe, machines: Devices) -> Fabric:
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would say which precision it uses
    devices, nodes = machines.devices, machines.nodes
    if each := os.environ.get("LOCAL_WORLD_SIZE"):  # torchrun has started the processes already
        devices, nodes = int(each), int(os.environ["WORLD_SIZE"]) // int(each)
    try:
        fabric = Fabric(
            accelerator=machines.accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=PRECISIONS[recipe.precision],
            strategy="ddp" if devices * nodes > 1 else "auto",
        )
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"cannot train on {devices} x {machines.accelerator}",
            found=first_line(error),
            remedy="choose another --accelerator (auto, cpu, cuda, mps) or fewer --devices",
        ) from error
    fabric.launch()
    return fabric


def check_fits(recipe: Recipe, train_set: Dataset) -> None:
    """A recipe with a warp needs landmarks."""
    if recipe.warp and train_set[0].landmarks_xy is None:
        raise TrainingError(
            f"{recipe.warp} needs five landmarks a face",
            found=f"{train_set.kind} has none",
            remedy="take LaPa or Helen, or say --set warp=null",
        )


def check_batches(batches: Batches, pictures: int) -> None:
    parts = batches.processes * batches.accumulate
    if batches.batch % parts:
        raise TrainingError(
            f"a batch of {batches.batch} cannot be shared out evenly",
            found=f"{batches.processes} processes, {batches.accumulate} times",
            remedy=f"say --set batch={max(1, batches.batch // parts) * parts}",
        )
    if batches.steps_per_epoch < 1:
        raise TrainingError(
            f"{pictures} pictures do not fill a batch of {batches.batch}", remedy=f"say --set batch={pictures} or less"
        )


def starting_network(recipe: Recipe, *, resumed: bool = False) -> SegFace:
    """What a run starts from. One that is resumed has all its weights in its state."""
    space = label_space(recipe.label_space)
    model = PRESETS[recipe.preset](len(space))
    if recipe.backbone and not resumed:
        load_backbone(model, recipe.preset, recipe.backbone)
    if recipe.start_from and not resumed:
        start = load_weights(Path(recipe.start_from), space)
        if start.preset != recipe.preset:
            raise TrainingError(f"{recipe.start_from} is no {recipe.preset}", found=start.preset)
        start.model.class_offset = None  # chosen for weights at the end of their training
        model.load_state_dict(start.model.state_dict())
    return model.to(memory_format=torch.channels_last)


def make_learner(model: SegFace, recipe: Recipe, pictures_with: npt.NDArray[np.int64], device: torch.device) -> Learner:
    contrast = teacher = None
    if recipe.contrastive.weight:
        width = int(model.decoder.transformer.norm_final.normalized_shape[0])  # type: ignore[union-attr, index]
        contrast = TokenContrast(model.decoder, width, torch.from_numpy(pictures_with), recipe.contrastive)
    if path := recipe.distillation.teacher:
        weights = load_weights(Path(path), label_space(recipe.label_space))
        if weights.warp != recipe.warp:
            raise TrainingError(
                f"{path} cannot teach {recipe.preset}",
                found=f"one looks through {weights.warp or recipe.warp}, the other does not",
                remedy="give a teacher with the same warp",
            )
        network = weights.model.requires_grad_(False).eval()
        teacher = (WarpedSegFace(network) if recipe.warp else network).to(device)
    return Learner(model, recipe, contrast, teacher)


def make_optimizer(learner: Learner, recipe: Recipe) -> torch.optim.Optimizer:
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
    """Of a step, counted from 0: it depends on nothing that went before, so an interruption cannot change it."""
    warm = min(1.0, (step + 1) / schedule.warm_up_steps) if schedule.warm_up_steps else 1.0
    if schedule.kind == "steps":
        passed = sum(step >= milestone * steps_per_epoch for milestone in schedule.milestones)
        return lr * warm * schedule.gamma**passed
    return lr * warm * (schedule.floor + (1 - schedule.floor) * (1 + math.cos(math.pi * step / steps)) / 2)
