"""The training loop: the same for every recipe, dataset and number of devices."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor

from edge_segface.data import Dataset
from edge_segface.data.augment import make_augmentation
from edge_segface.data.check import class_pixels, in_memory
from edge_segface.data.sampling import Batches, repeat_factors
from edge_segface.errors import TrainingError
from edge_segface.evaluate import ScoreReport
from edge_segface.labels import label_space
from edge_segface.model.checkpoint import Weights
from edge_segface.model.segface import SegFace
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.signals import stop_on_signal
from edge_segface.train.batches import AugmentedDataset, Batch, load_batches
from edge_segface.train.checkpointing import TrainingState, describe_data
from edge_segface.train.cpu import keep_freed_memory, speed_up_depthwise
from edge_segface.train.devices import Devices, any_rank, native_precision, on_rank_zero, start_fabric
from edge_segface.train.ema import Ema
from edge_segface.train.metrics_log import MetricsLog
from edge_segface.train.recipe import Recipe, to_plain
from edge_segface.train.run_folder import RunFolder
from edge_segface.train.setup import (
    check_batches,
    check_landmarks,
    learning_rate,
    make_learner,
    make_optimizer,
    starting_network,
)
from edge_segface.train.validation import Validator

CHECK_EVERY = 20  # steps between checks of the losses, each of which waits for the device
SAVE_SECONDS = 600.0  # a longer epoch is saved in between
IN_MEMORY_BYTES = 3 << 30  # smaller datasets are kept in memory


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a run: where its files are, and how far it came."""

    run: RunFolder
    steps: int
    best_f1: float | None
    stopped: bool  # by a signal, before the last step
    validated_on: str = ""  # number of images and split


def train(
    recipe: Recipe,
    train_set: Dataset,
    val_set: Dataset,
    run: RunFolder,
    devices: Devices | None = None,
    *,
    resume: bool = False,
    progress: Progress = NO_PROGRESS,
) -> TrainingResult:
    """Train by a recipe to its last step, or until Ctrl-C, which saves first.

    A run that was interrupted and resumed gives the same weights as one that was not.
    """
    devices = devices or Devices()
    if recipe.precision == "auto":
        recipe = replace(recipe, precision=native_precision(devices.accelerator))
    fabric = start_fabric(recipe.precision, devices)
    torch.manual_seed(recipe.seed)
    data = describe_data(recipe, train_set, val_set)
    space = label_space(recipe.label_space)
    train_set, val_set = in_memory(train_set.to_space(space), IN_MEMORY_BYTES), val_set.to_space(space)
    check_landmarks(recipe, train_set)
    saved = run.load(recipe, data) if resume else None

    pixels = np.zeros((len(train_set), len(space)), dtype=np.int64)  # samples classes
    if recipe.needs_class_pixels:
        pixels = class_pixels(train_set)
    batches = _make_batches(recipe, pixels, fabric, devices, saved["step"] if saved else 0)
    check_batches(batches, len(train_set))
    trainer = _make_trainer(recipe, run, fabric, batches, train_set, val_set, pixels, data, resume=resume)
    trainer.begin(saved)
    augment = make_augmentation(recipe.augmentation, train_set, recipe.size, recipe.camera, pixels)
    samples = AugmentedDataset(augment, train_set.names, recipe.seed, recipe.consensus)
    loader = load_batches(samples, batches, devices.workers, pin=fabric.device.type == "cuda")
    result = trainer.fit(loader, progress if fabric.is_global_zero else NO_PROGRESS)
    return replace(result, validated_on=f"{len(val_set)} images of {val_set.split}")


def _make_batches(
    recipe: Recipe, pixels: npt.NDArray[np.int64], fabric: Fabric, devices: Devices, start_step: int
) -> Batches:
    return Batches(
        repeat_factors(pixels > 0, recipe.repeat_threshold),
        recipe.seed,
        recipe.batch,
        recipe.epochs,
        start_step=start_step,
        rank=fabric.global_rank,
        processes=fabric.world_size,
        accumulate=devices.accumulate,
    )


def _make_trainer(
    recipe: Recipe,
    run: RunFolder,
    fabric: Fabric,
    batches: Batches,
    train_set: Dataset,
    val_set: Dataset,
    pixels: npt.NDArray[np.int64],
    data: dict[str, Any],
    *,
    resume: bool,
) -> Trainer:
    model = starting_network(recipe, resume=resume)
    if fabric.device.type == "cpu":
        keep_freed_memory()
        speed_up_depthwise(model)
    ema = Ema(model, recipe.ema) if recipe.ema else None
    learner = make_learner(model, recipe, pixels, fabric.device)
    if fabric.world_size > 1 and fabric.device.type == "cuda":  # torch has no synchronised batch norm for CPUs
        from timm.layers import convert_sync_batchnorm  # type: ignore[attr-defined]

        learner.network = convert_sync_batchnorm(learner.network)  # type: ignore[no-untyped-call]
    module, optimizer = fabric.setup(learner, make_optimizer(learner, recipe))
    if ema:
        ema.model.to(fabric.device)
    validated = Weights(
        ema.model if ema else model,
        preset=recipe.preset,
        space=train_set.space,
        training_data=f"{len(train_set)} images of {train_set.kind} {train_set.root.name}, {recipe.epochs} epochs",
        licence=recipe.licence,
        warp=recipe.warp,
        size=recipe.size,
    )
    return Trainer(
        fabric=fabric,
        recipe=recipe,
        run=run,
        data=data,
        module=module,
        model=model,
        state=TrainingState(learner, ema, optimizer, fabric.strategy.precision),
        batches=batches,
        validator=Validator(fabric, val_set, validated, recipe.size, run),
    )


@dataclass(kw_only=True)
class Trainer:
    """Steps through the epochs of a run, and checks, validates, logs and saves in between."""

    fabric: Fabric
    recipe: Recipe
    run: RunFolder
    data: dict[str, Any]  # identifies the images, in the saved state
    module: Any  # the learner, as Fabric wraps it
    model: SegFace  # the network inside
    state: TrainingState
    batches: Batches
    validator: Validator

    def __post_init__(self) -> None:
        self.steps = self.recipe.epochs * self.batches.steps_per_epoch
        self.recent_losses: list[dict[str, Tensor]] = []  # of each batch since the last check
        self.recent_batches: list[str] = []  # step and images of each

    def begin(self, saved: dict[str, Any] | None) -> None:
        """Restore a saved state, or start a new run with one, so that it can be resumed from its first step on."""
        if saved:
            self.state.load_state_dict(saved)
            on_rank_zero(self.fabric, lambda: self.run.tidy(self.state.step), self.run.folder)
        else:
            on_rank_zero(self.fabric, lambda: self.run.begin(self.recipe, self.data), self.run.folder)
            self.save()
        self.log = MetricsLog(self.run, self.state.step)

    def fit(self, loader: Iterator[Batch], progress: Progress) -> TrainingResult:
        """Train from the current step to the last one, or until a signal."""
        state, stop, stopped = self.state, threading.Event(), False
        progress.stage("training", self.steps)
        progress.advance(state.step)
        saved_s = checked_s = time.monotonic()
        checked_step = state.step
        with stop_on_signal(stop.set):
            while state.step < self.steps and not stopped:
                epoch = state.step // self.batches.steps_per_epoch
                self.one_step(loader, epoch)
                state.step += 1
                epoch_ends = state.step % self.batches.steps_per_epoch == 0
                if epoch_ends or state.step % CHECK_EVERY == 0:
                    loss = self.check_losses()
                    now_s = time.monotonic()
                    images_per_s = (state.step - checked_step) * self.recipe.batch / (now_s - checked_s)
                    stopped = any_rank(self.fabric, stop.is_set())
                    if epoch_ends:
                        self.end_epoch(epoch, images_per_s)
                    if epoch_ends or stopped or any_rank(self.fabric, now_s - saved_s > SAVE_SECONDS):
                        self.save()
                        saved_s = now_s
                    checked_step, checked_s = state.step, time.monotonic()
                    text = self._summary(epoch, loss, images_per_s)
                    progress.describe(text)
                    if epoch_ends:
                        progress.note(text)
                progress.advance()
        self.log.close()
        self.fabric.barrier()  # a process that ends early has the others killed, perhaps while they save
        return TrainingResult(self.run, state.step, state.best_f1, stopped=state.step < self.steps)

    def one_step(self, loader: Iterator[Batch], epoch: int) -> None:
        """Forward, backward and update on one batch, in as many parts as gradients are accumulated over."""
        recipe, state, parts = self.recipe, self.state, self.batches.accumulate
        rate = learning_rate(recipe.schedule, recipe.optimizer.lr, state.step, self.steps, self.batches.steps_per_epoch)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        self.module.train()
        for part in range(parts):
            batch = next(loader).to(self.fabric.device)
            with self.fabric.no_backward_sync(self.module, enabled=part < parts - 1):
                losses = self.module(batch.images, batch.labels, batch.landmarks, batch.components, epoch)
                self.fabric.backward(losses["total"] / parts)
            self.recent_losses.append({name: loss.detach() for name, loss in losses.items()})
            self.recent_batches.append(f"step {state.step + 1}, images " + ", ".join(batch.names))
        if clip := recipe.optimizer.clip:
            self.fabric.clip_gradients(self.module, state.optimizer, max_norm=clip, error_if_nonfinite=False)
        state.optimizer.step()
        state.optimizer.zero_grad()
        if state.ema:
            state.ema.update(self.model)

    def check_losses(self) -> float:
        """Wait for the device, raise if a loss since the last check is not finite, and return their mean total."""
        names = list(self.recent_losses[0])
        rows = [torch.stack([losses[name].float() for name in names]) for losses in self.recent_losses]
        table = torch.stack(rows)  # batches names
        bad = ~table.isfinite().all(dim=1)
        norms = torch.stack(torch._foreach_norm(list(self.state.learner.parameters())))
        diverged = bad.any() | ~norms.isfinite().all()  # the last step may break weights, not its own loss
        if any_rank(self.fabric, bool(diverged)):
            raise TrainingError(
                "the loss is no longer finite",
                found=self._first_bad_batch(int(bad.nonzero()[0]) if bad.any() else len(self.recent_batches) - 1),
                remedy=f"lower optimizer.lr or set optimizer.clip; {self.run.state} is from before it",
            )
        means = table.mean(dim=0).tolist()
        for name, mean in zip(names, means, strict=True):
            self.state.loss_sums[name] = self.state.loss_sums.get(name, 0.0) + mean * len(self.recent_losses)
        self.state.loss_count += len(self.recent_losses)
        self.recent_losses, self.recent_batches = [], []
        return float(means[names.index("total")])

    def end_epoch(self, epoch: int, images_per_s: float) -> None:
        """Validate if it is time to, and log the epoch."""
        state, recipe = self.state, self.recipe
        record: dict[str, Any] = {
            "epoch": epoch + 1,
            "step": state.step,
            "lr": state.optimizer.param_groups[0]["lr"],
            "loss": {name: round(total / state.loss_count, 6) for name, total in state.loss_sums.items()},
            "images_per_s": round(images_per_s, 2),
        }
        state.loss_sums, state.loss_count = {}, 0
        if (epoch + 1) % recipe.validate_epochs == 0 or state.step == self.steps:
            record["val"] = self.validate()
        if state.learner.contrast is not None and (epoch + 1) % recipe.contrastive.regroup_epochs == 0:
            state.learner.contrast.regroup()
        on_rank_zero(self.fabric, lambda: self.log.write(record), self.run.folder)

    def validate(self) -> ScoreReport:
        """Score the weights, save them, and remember the best F1."""
        report = self.validator.score()
        f1, best_f1 = report["mean_f1"] or 0.0, self.state.best_f1
        is_best = best_f1 is None or f1 > best_f1

        def save_best() -> None:
            self.validator.save(report, best=is_best)
            self.log.write_images(self.validator.example_images(), self.state.step)

        on_rank_zero(self.fabric, save_best, self.run.folder)
        self.state.best_f1 = max(f1, best_f1 or 0.0)
        return report

    def save(self) -> None:
        """Save the state that a resumed run continues from."""
        identity = {"recipe": to_plain(self.recipe), "data": self.data}
        on_rank_zero(self.fabric, lambda: self.run.save({**identity, **self.state.state_dict()}), self.run.folder)

    def _first_bad_batch(self, index: int) -> str:
        """Return the batch that broke a loss first in any process; a step later the losses of all are broken."""
        indices: Any = self.fabric.all_gather(torch.tensor(index, device=self.fabric.device))
        return str(self.fabric.broadcast(self.recent_batches[index], src=int(indices.reshape(-1).argmin())))

    def _summary(self, epoch: int, loss: float, images_per_s: float) -> str:
        text = f"epoch {epoch + 1}/{self.recipe.epochs}  loss {loss:.4f}  {images_per_s:.1f} images/s"
        return text if self.state.best_f1 is None else f"{text}  best F1 {self.state.best_f1:.2f}"
