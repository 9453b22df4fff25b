"""The state of a training run: everything that `--resume` needs to give the same weights as an uninterrupted run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric.plugins import Precision

from edge_segface.data import Dataset
from edge_segface.image_io import find_images
from edge_segface.model.segface import SegFace
from edge_segface.train.ema import Ema
from edge_segface.train.learner import Learner
from edge_segface.train.recipe import Recipe


@dataclass
class TrainingState:
    """What changes from step to step."""

    learner: Learner
    ema: Ema[SegFace] | None
    optimizer: Any  # as Fabric wraps it
    precision: Precision  # with the gradient scaler of fp16
    step: int = 0  # steps done
    best_f1: float | None = None
    loss_sums: dict[str, float] = field(default_factory=dict)  # of the checked batches of this epoch
    loss_count: int = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "best_f1": self.best_f1,
            "learner": self.learner.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "sums": dict(self.loss_sums),
            "summed": self.loss_count,
            "rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state, including torch's random number generator."""
        self.learner.load_state_dict(state["learner"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.load_state_dict(state["precision"])
        self.step, self.best_f1 = state["step"], state["best_f1"]
        self.loss_sums, self.loss_count = state["sums"], state["summed"]
        torch.set_rng_state(state["rng"])


def describe_data(recipe: Recipe, train_set: Dataset, val_set: Dataset) -> dict[str, Any]:
    """Return what identifies the images of a run; resuming with other images is refused."""
    data: dict[str, Any] = {"train": _describe_dataset(train_set), "val": _describe_dataset(val_set)}
    if recipe.augmentation == "camera" and recipe.camera.backdrops:
        data["backdrops"] = _digest(path.name for path in find_images([recipe.camera.backdrops]))
    return data


def _describe_dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        "kind": dataset.kind,
        "split": dataset.split,
        "label_space": dataset.space.name,
        "pictures": len(dataset),
        "names_sha256": _digest(dataset.names),
        "left_out": sum(map(len, dataset.skipped.values())),
    }


def _digest(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
