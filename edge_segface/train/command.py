"""`edge-segface train` and `pseudo-label` as functions: recipe, datasets and checks first, PyTorch last.

PyTorch takes seconds to load, so a wrong recipe, folder or dataset is reported before it is imported.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_segface.data import Dataset, open_dataset
from edge_segface.errors import TrainingError
from edge_segface.image_io import find_images
from edge_segface.labels import LabelSpace, describe_lost_parts, label_space
from edge_segface.models import input_size, mask_space, resolve_checkpoint
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.spec import check_size
from edge_segface.train.recipe import Recipe, load_recipe
from edge_segface.train.run_folder import RunFolder

if TYPE_CHECKING:
    from edge_segface.train.loop import TrainingResult
    from edge_segface.train.pseudo_labels import PseudoLabelled


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What to train, on which data and devices."""

    recipe: str  # a recipe of the package, or a YAML file
    out: Path  # folder of the run
    data: Path | None = None  # folder of the dataset
    dataset: str | None = None  # its kind; default: the recipe's
    labels: str | None = None  # label space of a folder's masks; default: detected in them
    resume: bool = False
    changes: tuple[str, ...] = ()  # key=value in the recipe
    skip_bad: bool = False  # skip samples that cannot be used
    accelerator: str = "auto"
    devices: int = 1  # processes on each machine
    nodes: int = 1
    accumulate: int = 1
    workers: int | None = None  # data loading processes per device; default: 2 on Linux, else 0
    threads: int | None = None


def open_splits(
    request: TrainRequest, recipe: Recipe, target: LabelSpace, progress: Progress
) -> tuple[Dataset, Dataset]:
    """Open both splits. Without `labels`, the masks of the first tell the label space of both."""

    def open_split(split: str, space: LabelSpace | None, *, assumed: bool) -> Dataset:
        return open_dataset(
            recipe.dataset, request.data, split, space, assumed=assumed, skip_bad=request.skip_bad, progress=progress
        )

    space = mask_space(request.labels, recipe.dataset, target)
    train_set = open_split(recipe.train_split, space, assumed=request.labels is None)
    val_set = open_split(recipe.val_split, train_set.space, assumed=False)
    if recipe.also is not None:
        more = open_dataset("folder", Path(recipe.also), "all", skip_bad=request.skip_bad, progress=progress)
        train_set = train_set.to_space(target).joined(more.to_space(target))
    return train_set, val_set


def run_training(request: TrainRequest, *, progress: Progress = NO_PROGRESS) -> TrainingResult:
    """Train a network by a recipe and return where its weights are."""
    dataset = () if request.dataset is None else (f"dataset={request.dataset}",)
    recipe = load_recipe(request.recipe, [*request.changes, *dataset])
    if recipe.distillation.teacher:
        resolve_checkpoint(recipe.distillation.teacher)  # raises before PyTorch is loaded
    run = RunFolder(request.out)
    run.check(resume=request.resume)
    target = label_space(recipe.label_space)
    train_set, val_set = open_splits(request, recipe, target, progress)
    if lost := describe_lost_parts(train_set.space, target):
        progress.note(lost)

    import torch

    from edge_segface.train.devices import Devices
    from edge_segface.train.loop import train

    if request.threads is not None:
        torch.set_num_threads(request.threads)
        os.environ["OMP_NUM_THREADS"] = str(request.threads)  # read by the processes that --devices starts
    devices = Devices(
        accelerator=request.accelerator,
        devices=request.devices,
        nodes=request.nodes,
        accumulate=request.accumulate,
        workers=Devices.workers if request.workers is None else request.workers,
    )
    return train(recipe, train_set, val_set, run, devices, resume=request.resume, progress=progress)


def run_pseudo_labelling(
    teachers: Sequence[str],
    images: Sequence[str],
    out: Path,
    *,
    size: int | None = None,
    coarse: Path | None = None,
    coarse_space: str | None = None,
    coarse_parts: Sequence[str] = (),
    threads: int | None = None,
    progress: Progress = NO_PROGRESS,
) -> PseudoLabelled:
    """Label images with the checkpoints of trained networks, and with `coarse_parts` of a folder of coarse masks.

    The masks are in the label space of the teachers if `coarse_space` is not given.
    """
    if coarse is not None and not coarse.is_dir():
        raise TrainingError(f"{coarse} is not a folder", remedy="give the folder of the coarse masks")
    checkpoints = [resolve_checkpoint(teacher) for teacher in teachers]
    paths = find_images(images)
    if size is not None:
        check_size(size)

    import torch

    from edge_segface.model.checkpoint import load_weights
    from edge_segface.train.pseudo_labels import CoarseMasks, write_pseudo_labels

    if threads is not None:
        torch.set_num_threads(threads)
    loaded = [load_weights(path) for path in checkpoints]
    masks = None
    if coarse is not None:
        space = label_space(coarse_space) if coarse_space else loaded[0].space
        for each in (space, loaded[0].space):
            each.ids_of(*coarse_parts)  # raises if it lacks one
        masks = CoarseMasks(coarse, space, tuple(coarse_parts))
    return write_pseudo_labels(loaded, paths, out, input_size(loaded[0], size), coarse=masks, progress=progress)
