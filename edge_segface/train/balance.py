"""Tune per-class logit offsets to maximise F1 on labelled images, after training.

The most likely class maximises pixel accuracy, not F1: F1 is best when a pixel is assigned to a class as soon as its
probability exceeds about half of that class's F1. A network that finds few hats therefore finds too few; one that saw
pasted earrings in training finds too many. One offset per long-tail class corrects both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from edge_segface.data import Dataset
from edge_segface.data.augment import letterboxed
from edge_segface.errors import TrainingError
from edge_segface.evaluate import evaluate, read_batches
from edge_segface.face.parser import FaceParser
from edge_segface.labels import LabelSpace
from edge_segface.metrics import ConfusionMatrix
from edge_segface.model.checkpoint import Weights
from edge_segface.model.segface import normalised
from edge_segface.model.torch_engine import TorchEngine
from edge_segface.progress import NO_PROGRESS, Progress

MAX_PIXELS = 4_000_000  # sampled over all images
STEPS = (1.0, 0.5, 0.25)
MAX_OFFSET = 1.0  # a larger one draws rims of the class around others, where the network is unsure
MIN_GAIN = 0.05  # of the mean F1, for an offset to change


@dataclass(frozen=True, eq=False)
class BalancedWeights:
    """Weights with tuned offsets, and the mean F1 on the pixels sampled at the input's size."""

    weights: Weights
    offsets: dict[str, float]  # of the classes that changed
    before: float
    after: float
    cross_validated: float  # each half of the images with the offsets tuned on the other half


@dataclass(frozen=True, eq=False)
class PixelSample:
    """Some pixels of every image, with the logits of an unbalanced network."""

    logits: npt.NDArray[np.float32]  # pixels classes
    labels: npt.NDArray[np.uint8]  # pixels
    image: npt.NDArray[np.int64]  # pixels; index of the image of each

    def where(self, mask: npt.NDArray[np.bool_]) -> PixelSample:
        return PixelSample(self.logits[mask], self.labels[mask], self.image[mask])


def balance(weights: Weights, dataset: Dataset, size: int, *, progress: Progress = NO_PROGRESS) -> BalancedWeights:
    """Return weights with an offset for each long-tail class that gains from one.

    Report the accuracy of the result on other images than `dataset`.
    """
    space = weights.space
    if not space.long_tail:
        raise TrainingError(f"{space.name} has no long-tail classes to balance")
    if len(dataset) < 2:
        raise TrainingError("balancing needs at least two images", found=len(dataset), remedy="use a larger split")
    pixels = sample_pixels(weights, dataset.to_space(space), size, progress)
    progress.stage("tuning offsets")
    cross_validated = _cross_validate(pixels, space)
    offset = tune_offsets(pixels, space)
    model = weights.model
    previous = np.zeros(len(space)) if model.class_offset is None else model.class_offset.numpy()
    total = previous + offset
    model.class_offset = torch.from_numpy(total.astype(np.float32)) if total.any() else None
    scores = evaluate(FaceParser(TorchEngine(weights, size)), dataset, progress=progress).report()["f1"]
    f1 = {name: score for name, score in scores.items() if score is not None}
    return BalancedWeights(
        replace(weights, model=model, size=size, f1=f1),
        offsets={space.names[index]: float(offset[index]) for index in np.flatnonzero(offset)},
        before=count(pixels, np.zeros(len(space)), space).mean_f1(),
        after=count(pixels, offset, space).mean_f1(),
        cross_validated=cross_validated,
    )


@torch.inference_mode()
def sample_pixels(weights: Weights, dataset: Dataset, size: int, progress: Progress = NO_PROGRESS) -> PixelSample:
    """Run the network on every image and keep some of its pixels, the same at each call."""
    rng = np.random.default_rng(0)
    per_image = min(size * size, max(1, MAX_PIXELS // len(dataset)))
    progress.stage("sampling pixels", len(dataset))
    logits, labels = [], []
    for samples in read_batches(dataset):
        crops, truths, _ = zip(*(letterboxed(sample, size) for sample in samples), strict=True)
        output = weights.model(normalised(np.stack(crops)))
        output = F.interpolate(output, size=(size, size), mode="bilinear", align_corners=False)
        for rows, truth in zip(output.flatten(2).transpose(1, 2), truths, strict=True):
            kept = rng.choice(size * size, per_image, replace=False)
            logits.append(rows[kept].numpy())
            labels.append(truth.reshape(-1)[kept])
        progress.advance(len(samples))
    return PixelSample(np.concatenate(logits), np.concatenate(labels), np.repeat(np.arange(len(dataset)), per_image))


def tune_offsets(pixels: PixelSample, space: LabelSpace) -> npt.NDArray[np.float64]:
    """Return the offsets that maximise the mean F1: one class after the other, in steps of decreasing size."""
    offset = np.zeros(len(space))
    best = count(pixels, offset, space).mean_f1()
    for step in STEPS:
        for index in space.long_tail:
            for direction in (step, -step):
                while abs(offset[index] + direction) <= MAX_OFFSET:
                    candidate = offset.copy()
                    candidate[index] += direction
                    score = count(pixels, candidate, space).mean_f1()
                    if not score >= best + MIN_GAIN:  # also if it is NaN
                        break
                    offset, best = candidate, score
    return offset


def count(pixels: PixelSample, offset: npt.NDArray[np.float64], space: LabelSpace) -> ConfusionMatrix:
    """Count the classes that the logits plus offsets predict against the labels."""
    matrix = ConfusionMatrix(space)
    matrix.update((pixels.logits + offset.astype(np.float32)).argmax(axis=1).astype(np.uint8), pixels.labels)
    return matrix


def _cross_validate(pixels: PixelSample, space: LabelSpace) -> float:
    halves = [pixels.where(pixels.image % 2 == part) for part in (0, 1)]
    matrix = ConfusionMatrix(space)
    for tuned_on, scored_on in (halves, halves[::-1]):
        matrix.counts += count(scored_on, tune_offsets(tuned_on, space), space).counts
    return matrix.mean_f1()
