"""Where rare classes begin: offsets to their logits, chosen for the F1 of labelled pictures after training.

Taking the likeliest class maximises the share of right pixels. F1 of a class is best when pixels are taken for it that
are about half as likely to be of it as its F1 is high, so a network that finds few hats finds too few of them; and
augmentation that shows earrings more often than they are has it find too many. One number per rare class mends both.
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
from edge_segface.evaluate import batches_of, scored
from edge_segface.face.parser import FaceParser
from edge_segface.labels import LabelSpace
from edge_segface.metrics import ConfusionMatrix
from edge_segface.model.checkpoint import Weights
from edge_segface.model.segface import normalised
from edge_segface.model.torch_engine import TorchEngine

PIXELS = 4_000_000  # looked at in all
STEPS = (1.0, 0.5, 0.25)
FURTHEST = 1.0  # with more a class draws rims around others, where the network is sure of nothing
WORTH = 0.05  # what the mean F1 must gain for an offset to move


@dataclass(frozen=True, eq=False)
class Balanced:
    weights: Weights
    offsets: dict[str, float]  # of the classes that moved
    before: float  # mean F1, at the size of the input
    after: float
    crosswise: float  # of each half of the pictures with the offsets that the other half chose


@dataclass(frozen=True, eq=False)
class PixelSample:
    logits: npt.NDArray[np.float32]  # pixels classes
    labels: npt.NDArray[np.uint8]
    picture: npt.NDArray[np.int64]  # which one each is of

    def of(self, which: npt.NDArray[np.bool_]) -> PixelSample:
        return PixelSample(self.logits[which], self.labels[which], self.picture[which])


def balance(weights: Weights, dataset: Dataset, size: int) -> Balanced:
    """Weights with an offset for each long-tail class that gains by one. `dataset` must not be what is reported on."""
    space = weights.space
    if not space.long_tail:
        raise TrainingError(f"{space.name} has no rare classes to balance")
    if len(dataset) < 2:
        raise TrainingError("one picture is too few to balance by", remedy="take a split with more of them")
    pixels = looked_at(weights, dataset.to_space(space), size)
    halves = [pixels.of(pixels.picture % 2 == part) for part in (0, 1)]
    crossed = ConfusionMatrix(space)
    for chosen_on, counted_on in (halves, halves[::-1]):
        crossed.counts += counts(counted_on, chosen(chosen_on, space), space).counts
    offset = chosen(pixels, space)
    model = weights.model
    had = np.zeros(len(space)) if model.class_offset is None else model.class_offset.numpy()
    model.class_offset = torch.from_numpy((had + offset).astype(np.float32)) if (had + offset).any() else None
    scores = scored(FaceParser(TorchEngine(weights, size)), dataset).report()["f1"]
    f1 = {name: score for name, score in scores.items() if score is not None}
    return Balanced(
        replace(weights, model=model, size=size, f1=f1),
        {space.names[index]: float(offset[index]) for index in np.flatnonzero(offset)},
        counts(pixels, np.zeros(len(space)), space).mean_f1(),
        counts(pixels, offset, space).mean_f1(),
        crossed.mean_f1(),
    )


@torch.inference_mode()
def looked_at(weights: Weights, dataset: Dataset, size: int) -> PixelSample:
    """Logits and labels of some pixels of every picture, the same at each call."""
    generator = np.random.default_rng(0)
    each = min(size * size, max(1, PIXELS // len(dataset)))
    logits, labels = [], []
    for samples in batches_of(dataset):
        squares, truths, _ = zip(*(letterboxed(sample, size) for sample in samples), strict=True)
        found = weights.model(normalised(np.stack(squares)))
        found = F.interpolate(found, size=(size, size), mode="bilinear", align_corners=False)
        for rows, truth in zip(found.flatten(2).transpose(1, 2), truths, strict=True):
            where = generator.choice(size * size, each, replace=False)
            logits.append(rows[where].numpy())
            labels.append(truth.reshape(-1)[where])
    return PixelSample(np.concatenate(logits), np.concatenate(labels), np.repeat(np.arange(len(dataset)), each))


def chosen(pixels: PixelSample, space: LabelSpace) -> npt.NDArray[np.float64]:
    """One class after the other, in steps that shrink, as long as the mean F1 gains."""
    offset = np.zeros(len(space))
    best = counts(pixels, offset, space).mean_f1()
    for step in STEPS:
        for index in space.long_tail:
            for direction in (step, -step):
                while abs(offset[index] + direction) <= FURTHEST:
                    tried = offset.copy()
                    tried[index] += direction
                    score = counts(pixels, tried, space).mean_f1()
                    if not score >= best + WORTH:
                        break
                    offset, best = tried, score
    return offset


def counts(pixels: PixelSample, offset: npt.NDArray[np.float64], space: LabelSpace) -> ConfusionMatrix:
    matrix = ConfusionMatrix(space)
    matrix.update((pixels.logits + offset.astype(np.float32)).argmax(axis=1).astype(np.uint8), pixels.labels)
    return matrix
