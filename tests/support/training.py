"""Tiny training runs on drawn faces: four steps of the smallest preset, in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edge_segface.data import Dataset
from edge_segface.data.synthetic.drawn import open_drawn
from edge_segface.progress import NO_PROGRESS, NoProgress, Progress
from edge_segface.train.devices import Devices
from edge_segface.train.loop import TrainingResult, train
from edge_segface.train.recipe import Recipe, load_recipe
from edge_segface.train.run_folder import RunFolder
from tests.support.torch_threads import one_thread

SIZE = 128
TINY = (
    f"size={SIZE}",
    "augmentation=camera",
    "epochs=2",
    "batch=4",
    "validate_epochs=1",
    "camera.scenes=0.3",
    "schedule.warm_up_steps=1",
)
STEPS = 4  # of eight images


def tiny_recipe(*changes: str) -> Recipe:
    return load_recipe("drawn", [*TINY, *changes])


def drawn_faces(split: str, count: int) -> Dataset:
    dataset = open_drawn(split, SIZE)
    return dataset.only(dataset.names[:count])


def run_tiny(
    folder: Path,
    recipe: Recipe | None = None,
    *,
    train_set: Dataset | None = None,
    devices: Devices | None = None,
    resume: bool = False,
    progress: Progress = NO_PROGRESS,
) -> TrainingResult:
    """Train on eight drawn faces, on one CPU process without workers unless given others."""
    with one_thread():
        return train(
            recipe or tiny_recipe(),
            train_set or drawn_faces("train", 8),
            drawn_faces("val", 2),
            RunFolder(folder),
            devices or Devices("cpu", workers=0),
            resume=resume,
            progress=progress,
        )


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def read_state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True)
    return state


def same_weights(one: Path, other: Path) -> bool:
    a, b = (torch.load(folder / "last.pt", weights_only=True)["state_dict"] for folder in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class AtStep(NoProgress):
    """Calls a function once, when a step is done and whatever belongs to it is saved."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.step, self.action, self.done = step, action, 0

    def advance(self, count: int = 1) -> None:
        if count:
            self.done += count
            if self.done == self.step:
                self.action()
