"""The training loop: one for every recipe, dataset and number of devices."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from edge_segface.data import Dataset
from edge_segface.data.augment import make_augmentation
from edge_segface.data.check import class_pixels, in_memory
from edge_segface.data.geometry import resize_labels
from edge_segface.data.sampling import Batches, repeat_factors
from edge_segface.draw import colour, overlay
from edge_segface.errors import EdgeSegfaceError, TrainingError
from edge_segface.evaluate import Scores, fit_of, parsed, scored
from edge_segface.face.parser import FaceParser
from edge_segface.files import cannot_write
from edge_segface.frames import ClassMap, UInt8Array
from edge_segface.image_io import find_images
from edge_segface.labels import label_space
from edge_segface.model.checkpoint import Weights, save_weights
from edge_segface.model.segface import SegFace
from edge_segface.model.torch_engine import TorchEngine
from edge_segface.signals import stop_on_signal
from edge_segface.train.batches import AugmentedDataset, Batch, loader
from edge_segface.train.ema import Ema
from edge_segface.train.recipe import Recipe, plain
from edge_segface.train.run_folder import RunFolder
from edge_segface.train.setup import (
    Devices,
    check_batches,
    check_fits,
    learning_rate,
    make_learner,
    make_optimizer,
    start_fabric,
    starting_network,
)

LOOK_EVERY = 20  # steps between looks at the losses, each of which waits for the device
SAVE_SECONDS = 600.0  # an epoch that takes longer is saved in between
IN_MEMORY_BYTES = 3 << 30  # a dataset that takes less is kept in memory
EXAMPLES = 4


@dataclass
class Progress:
    """What a progress bar shows."""

    step: int
    steps: int
    epoch: int  # from 1
    epochs: int
    loss: float = math.nan
    images_per_s: float = math.nan
    best_f1: float | None = None
    ended: bool = False  # an epoch, with this step


@dataclass(frozen=True)
class Trained:
    run: RunFolder
    steps: int
    best_f1: float | None
    stopped: bool  # by Ctrl-C, before the end


OnProgress = Callable[[Progress], None]


def train(
    recipe: Recipe,
    train_set: Dataset,
    val_set: Dataset,
    run: RunFolder,
    machines: Devices | None = None,
    *,
    resume: bool = False,
    on_progress: OnProgress = lambda _: None,
) -> Trained:
    """Follows a recipe to its end, or to Ctrl-C, which saves first. What comes out does not depend on interruptions."""
    machines = machines or Devices()
    fabric = start_fabric(recipe, machines)
    torch.manual_seed(recipe.seed)
    space = label_space(recipe.label_space)
    data: dict[str, Any] = {"train": described(train_set), "val": described(val_set)}
    if recipe.augmentation == "camera" and recipe.camera.backdrops:
        data["backdrops"] = digest_of(path.name for path in find_images([recipe.camera.backdrops]))
    train_set, val_set = in_memory(train_set.to_space(space), IN_MEMORY_BYTES), val_set.to_space(space)
    check_fits(recipe, train_set)
    state = run.load(recipe, data) if resume else None

    reads = recipe.needs_class_pixels
    pixels = class_pixels(train_set) if reads else np.zeros((len(train_set), len(space)), dtype=np.int64)
    factors = repeat_factors(pixels > 0, recipe.repeat_threshold)
    step = state["step"] if state else 0
    batches = Batches(
        factors, recipe.seed, recipe.batch, recipe.epochs,
        start_step=step, rank=fabric.global_rank, processes=fabric.world_size, accumulate=machines.accumulate,
    )  # fmt: skip
    check_batches(batches, len(train_set))

    model = starting_network(recipe, resumed=resume)
    ema = Ema(model, recipe.ema) if recipe.ema else None
    learner = make_learner(model, recipe, (pixels > 0).sum(axis=0), fabric.device)
    if fabric.world_size > 1 and fabric.device.type == "cuda":  # torch has no such layer for CPUs
        from timm.layers import convert_sync_batchnorm  # type: ignore[attr-defined]

        learner.network = convert_sync_batchnorm(learner.network)  # type: ignore[no-untyped-call]
    wrapped, optimizer = fabric.setup(learner, make_optimizer(learner, recipe))
    if ema:
        ema.model.to(fabric.device)
    weights = Weights(
        model,
        preset=recipe.preset,
        space=space,
        training_data=f"{len(train_set)} pictures of {train_set.kind} {train_set.root.name}, {recipe.epochs} epochs",
        licence=recipe.licence,
        warp=recipe.warp,
        size=recipe.size,
    )
    training = Training(fabric, recipe, run, wrapped, learner, ema, optimizer, batches, val_set, weights, data, step)
    if state:
        training.load_state_dict(state)
        training.on_leader(lambda: run.tidy(step))
    else:
        training.on_leader(lambda: run.begin(recipe, data))
        training.save()  # whatever ends the run from here on, it can go on
    augment = make_augmentation(recipe.augmentation, train_set, recipe.size, recipe.camera, pixels)
    places = AugmentedDataset(augment, train_set.names, recipe.seed, recipe.consensus)
    stream = loader(places, batches, machines.workers, pin=fabric.device.type == "cuda")
    return training.follow(stream, on_progress)


@dataclass
class Training:
    """A run between two steps, and how it moves on."""

    fabric: Any
    recipe: Recipe
    run: RunFolder
    wrapped: Any  # the learner, with what several devices put around it
    learner: Any
    ema: Ema[SegFace] | None
    optimizer: Any
    batches: Batches
    val_set: Dataset
    weights: Weights  # all that is said of them, and the network that is trained
    data: dict[str, Any]  # what the state says of the data that it belongs to
    step: int
    best_f1: float | None = None

    def __post_init__(self) -> None:
        self.steps = self.recipe.epochs * self.batches.steps_per_epoch
        self.losses: list[dict[str, Tensor]] = []  # of the steps since the last look
        self.shown: list[str] = []  # their pictures
        self.sums: dict[str, float] = {}  # of the epoch, over what was looked at
        self.summed = 0

    def follow(self, data: Iterator[Batch], on_progress: OnProgress) -> Trained:
        progress = Progress(self.step, self.steps, 1, self.recipe.epochs, best_f1=self.best_f1)
        board = None
        if self.fabric.is_global_zero:
            board = SummaryWriter(str(self.run.folder / "tensorboard"), purge_step=self.step + 1)
        saved_s = looked_s = time.monotonic()
        looked_step = self.step
        stopped = False
        stop = threading.Event()
        with stop_on_signal(stop.set):
            while self.step < self.steps and not stopped:
                epoch = self.step // self.batches.steps_per_epoch
                self.one_step(data, epoch)
                self.step += 1
                at_end = self.step % self.batches.steps_per_epoch == 0
                if at_end or self.step % LOOK_EVERY == 0:
                    progress.loss = self.look()
                    now_s = time.monotonic()
                    progress.images_per_s = (self.step - looked_step) * self.recipe.batch / (now_s - looked_s)
                    stopped = self.agreed(stop.is_set())
                    if at_end:
                        self.end_epoch(epoch, progress, board)
                    if at_end or stopped or self.agreed(now_s - saved_s > SAVE_SECONDS):
                        self.save()
                        saved_s = now_s
                    looked_step, looked_s = self.step, time.monotonic()
                progress.step, progress.epoch, progress.ended = self.step, epoch + 1, at_end
                progress.best_f1 = self.best_f1
                if self.fabric.is_global_zero:
                    on_progress(progress)
        if board is not None:
            board.close()
        self.fabric.barrier()  # a process that ends early has the others killed, perhaps while they save
        return Trained(self.run, self.step, self.best_f1, stopped=self.step < self.steps)

    def one_step(self, data: Iterator[Batch], epoch: int) -> None:
        recipe, parts = self.recipe, self.batches.accumulate
        rate = learning_rate(recipe.schedule, recipe.optimizer.lr, self.step, self.steps, self.batches.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.wrapped.train()
        for part in range(parts):
            batch = next(data).to(self.fabric.device)
            with self.fabric.no_backward_sync(self.wrapped, enabled=part < parts - 1):
                losses = self.wrapped(batch.images, batch.labels, batch.landmarks, batch.pieces, epoch)
                self.fabric.backward(losses["total"] / parts)
            self.losses.append({name: loss.detach() for name, loss in losses.items()})
            self.shown.append(f"step {self.step + 1}, pictures " + ", ".join(batch.names))
        if recipe.optimizer.clip:
            self.fabric.clip_gradients(
                self.wrapped, self.optimizer, max_norm=recipe.optimizer.clip, error_if_nonfinite=False
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.weights.model)

    def look(self) -> float:
        """Waits for the device and checks the losses since the last look. Returns their mean total."""
        names = list(self.losses[0])
        rows = [torch.stack([step[name].float() for name in names]) for step in self.losses]
        table = torch.stack(rows)  # steps names
        bad = ~table.isfinite().all(dim=1)
        norms = torch.stack(torch._foreach_norm(list(self.learner.parameters())))
        broken = bad.any() | ~norms.isfinite().all()  # the last step may have spoilt weights without spoiling its loss
        if self.agreed(bool(broken)):
            first = self.first_shown(int(bad.nonzero()[0]) if bad.any() else len(self.shown) - 1)
            raise TrainingError(
                "the loss is not a number any more",
                found=first,
                remedy=f"lower optimizer.lr or set optimizer.clip; {self.run.state} is from before it",
            )
        means = table.mean(dim=0).tolist()
        for name, mean in zip(names, means, strict=True):
            self.sums[name] = self.sums.get(name, 0.0) + mean * len(self.losses)
        self.summed += len(self.losses)
        self.losses, self.shown = [], []
        return float(means[names.index("total")])

    def first_shown(self, index: int) -> str:
        """Of what spoilt the processes' losses, whichever came first: a step later all of them are spoilt."""
        indices = self.fabric.all_gather(torch.tensor(index, device=self.fabric.device)).reshape(-1)
        return str(self.fabric.broadcast(self.shown[index], src=int(indices.argmin())))

    def agreed(self, holds: bool) -> bool:
        """Whether it holds for any process, so that all do the same."""
        return bool(self.fabric.all_reduce(torch.tensor(float(holds), device=self.fabric.device), reduce_op="sum") > 0)

    def end_epoch(self, epoch: int, progress: Progress, board: SummaryWriter | None) -> None:
        record: dict[str, Any] = {
            "epoch": epoch + 1,
            "step": self.step,
            "lr": self.optimizer.param_groups[0]["lr"],
            "loss": {name: round(total / self.summed, 6) for name, total in self.sums.items()},
            "images_per_s": round(progress.images_per_s, 2),
        }
        self.sums, self.summed = {}, 0
        if (epoch + 1) % self.recipe.validate_epochs == 0 or self.step == self.steps:
            record["val"] = self.validate(board)
        options = self.recipe.contrastive
        if options.weight and (epoch + 1) % options.regroup_epochs == 0:
            self.learner.contrast.regroup()
        self.on_leader(lambda: self.write_down(record, board))

    def write_down(self, record: dict[str, Any], board: SummaryWriter | None) -> None:
        assert board is not None
        self.run.write_metrics(record)
        for name, value in record["loss"].items():
            board.add_scalar(f"loss/{name}", value, self.step)
        board.add_scalar("lr", record["lr"], self.step)
        val = record.get("val", {})
        for name, value in val.get("f1", {}).items():
            board.add_scalar(f"f1/{name}", math.nan if value is None else value, self.step)
        for name in ("mean_f1", "miou", "artefacts", "long_tail_f1"):
            if val.get(name) is not None:
                board.add_scalar(f"val/{name}", val[name], self.step)

    def validate(self, board: SummaryWriter | None) -> dict[str, Any]:
        """Scores the mean weights, each process on its share, and keeps them if they are the best so far."""
        model = self.ema.model if self.ema else self.weights.model
        if self.fabric.world_size > 1:  # without synchronised batch norms each process has statistics of its own
            for value in model.state_dict().values():
                torch.distributed.broadcast(value, src=0)
        weights = replace(self.weights, model=model.eval())
        parser = FaceParser(TorchEngine(weights, self.recipe.size))
        share = self.val_set.names[self.fabric.global_rank :: self.fabric.world_size]
        scores = scored(parser, self.val_set.only(share)) if share else Scores.none(parser.space)
        report = self._added_up(scores).report()
        best = self.best_f1 is None or (report["mean_f1"] or 0.0) > self.best_f1
        self.on_leader(lambda: self.keep(weights, report, parser, board, best=best))
        self.best_f1 = max(report["mean_f1"] or 0.0, self.best_f1 or 0.0)
        return report

    def keep(
        self, weights: Weights, report: dict[str, Any], parser: FaceParser, board: SummaryWriter | None, *, best: bool
    ) -> None:
        assert board is not None
        weights = replace(weights, f1={name: f1 for name, f1 in report["f1"].items() if f1 is not None})
        save_weights(weights, self.run.last)
        if best:
            save_weights(weights, self.run.best)
        for index, picture in enumerate(examples(parser, self.val_set, self.recipe.size)):
            board.add_image(f"example/{index}", picture[..., ::-1].copy(), self.step, dataformats="HWC")

    def on_leader(self, action: Callable[[], None]) -> None:
        """Done by one process. If it fails all of them end, rather than wait for it."""
        failed: EdgeSegfaceError | None = None
        if self.fabric.is_global_zero:
            try:
                action()
            except EdgeSegfaceError as error:
                failed = error
            except OSError as error:  # of TensorBoard's files
                failed = cannot_write(self.run.folder, error)
        if self.agreed(failed is not None):
            raise failed or TrainingError("the leading process could not go on")

    def save(self) -> None:
        self.on_leader(lambda: self.run.save(self.state_dict()))

    def state_dict(self) -> dict[str, Any]:
        return {
            "recipe": plain(self.recipe),
            "data": self.data,
            "step": self.step,
            "best_f1": self.best_f1,
            "learner": self.learner.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "sums": dict(self.sums),
            "summed": self.summed,
            "rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state["learner"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.best_f1, self.sums, self.summed = state["best_f1"], state["sums"], state["summed"]
        torch.set_rng_state(state["rng"])

    def _added_up(self, scores: Scores) -> Scores:
        counts = np.concatenate((scores.matrix.counts.ravel(), scores.broken, [scores.pictures]))
        total = self.fabric.all_reduce(torch.from_numpy(counts).to(self.fabric.device), reduce_op="sum").cpu().numpy()
        scores.matrix.counts[:] = total[: scores.matrix.counts.size].reshape(scores.matrix.counts.shape)
        return Scores(scores.matrix, total[scores.matrix.counts.size : -1], int(total[-1]))


def described(dataset: Dataset) -> dict[str, Any]:
    """What a run says of a dataset, and holds a resumed run to."""
    return {
        "kind": dataset.kind,
        "split": dataset.split,
        "label_space": dataset.space.name,
        "pictures": len(dataset),
        "names_sha256": digest_of(dataset.names),
        "left_out": sum(map(len, dataset.skipped.values())),
    }


def digest_of(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def examples(parser: FaceParser, dataset: Dataset, size: int) -> Iterator[UInt8Array]:
    """The picture, what the network sees in it, and the truth, side by side, at most `size` high and wide."""
    few = dataset.only(dataset.names[:EXAMPLES])
    for sample, labels in parsed(parser, few, fit_of(dataset)):
        shrink = min(1.0, size / max(labels.shape))
        size_wh = max(1, round(labels.shape[1] * shrink)), max(1, round(labels.shape[0] * shrink))
        image = np.asarray(cv2.resize(sample.image_bgr, size_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        found, truth = (ClassMap(resize_labels(ids, size_wh), parser.space) for ids in (labels, sample.labels))
        yield np.hstack((image, overlay(image, found), colour(truth)))
