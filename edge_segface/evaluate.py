"""How well a model parses a labelled dataset, by SegFace's protocol: pooled counts, mean F1 without background.

A picture goes through the model as it does in use: put whole into the square, as `parse` does, or squeezed to it for
LaPa and Helen, as the papers on them do. The labels come back at the picture's own size and are compared with every
pixel of the mask, so that models of different input sizes are compared fairly; `score_size` shrinks both first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_segface.data.components import component_counts
from edge_segface.data.geometry import resize_labels, squash_image
from edge_segface.data.sample import Dataset, Sample
from edge_segface.errors import DatasetError
from edge_segface.face.parser import FaceParser
from edge_segface.frames import UInt8Array
from edge_segface.labels import LabelSpace, lost_parts
from edge_segface.metrics import ConfusionMatrix

Fit = Literal["squash", "whole"]
BATCH = 8

# What the literature on Helen reports beside the classes: some of them merged, and `overall`, all of these together.
HELEN_MERGED = {
    "eyes": ("left_eye", "right_eye"),
    "brows": ("left_brow", "right_brow"),
    "nose": ("nose",),
    "mouth": ("upper_lip", "inner_mouth", "lower_lip"),
}


@dataclass(frozen=True, eq=False)
class Scores:
    """Counts over a dataset. `broken` adds up, class by class, by how many pieces prediction and mask differ."""

    matrix: ConfusionMatrix
    broken: npt.NDArray[np.int64]
    pictures: int

    @classmethod
    def none(cls, space: LabelSpace) -> Scores:
        return cls(ConfusionMatrix(space), np.zeros(len(space), dtype=np.int64), 0)

    @property
    def artefacts(self) -> float:
        """Mean over pictures and classes of |pieces predicted - pieces in the mask| (Masi et al.'s measure)."""
        return float(self.broken.sum() / max(1, self.pictures) / len(self.broken))

    def long_tail_f1(self) -> float:
        tail = self.matrix.f1()[list(self.matrix.space.long_tail)]
        return float(np.nanmean(tail)) if tail.size and not np.isnan(tail).all() else float("nan")

    def merged_f1(self) -> dict[str, float]:
        """Helen's merged classes, and `overall`: pooled over them, a pixel right if it is in the right merged class."""
        space, counts = self.matrix.space, self.matrix.counts
        scores, hits, sizes = {}, 0, 0
        for name, parts in HELEN_MERGED.items():
            ids = [space.id_of(part) for part in parts]
            both = counts[np.ix_(ids, ids)].sum()
            either = counts[ids].sum() + counts[:, ids].sum()
            scores[name] = 200 * both / either if either else float("nan")
            hits, sizes = hits + both, sizes + either
        return {**scores, "overall": 200 * hits / sizes if sizes else float("nan")}

    def report(self) -> dict[str, Any]:
        matrix, space = self.matrix, self.matrix.space
        report = {
            "mean_f1": rounded(matrix.mean_f1()),
            "miou": rounded(matrix.miou()),
            "f1": {name: rounded(score) for name, score in zip(space.names, matrix.f1(), strict=True)},
            "iou": {name: rounded(score) for name, score in zip(space.names, matrix.iou(), strict=True)},
            "pixel_accuracy": rounded(matrix.pixel_accuracy()),
            "artefacts": rounded(self.artefacts),
            "pictures": self.pictures,
        }
        if space.long_tail:
            report["long_tail_f1"] = rounded(self.long_tail_f1())
        if space.name == "helen11":
            report["merged_f1"] = {name: rounded(score) for name, score in self.merged_f1().items()}
        return report


def scored(
    parser: FaceParser,
    dataset: Dataset,
    *,
    fit: Fit | None = None,
    score_size: int | None = None,
    on_done: Callable[[], None] = lambda: None,
) -> Scores:
    """Parses every picture of a dataset and counts. The model must know every part that the dataset labels."""
    dataset = in_the_models_words(dataset, parser.space)
    scores = replace(Scores.none(parser.space), pictures=len(dataset))
    for sample, labels in parsed(parser, dataset, fit or fit_of(dataset)):
        truth = sample.labels
        if score_size is not None:
            truth, labels = (resize_labels(array, (score_size, score_size)) for array in (truth, labels))
        scores.matrix.update(labels, truth)
        classes = len(parser.space)
        scores.broken[:] += np.abs(component_counts(labels, classes) - component_counts(truth, classes))
        on_done()
    return scores


def fit_of(dataset: Dataset) -> Fit:
    return "squash" if dataset.squashed else "whole"


def in_the_models_words(dataset: Dataset, space: LabelSpace) -> Dataset:
    if lost := lost_parts(dataset.space, space):
        raise DatasetError(
            f"a model of {space.name} cannot be scored on {dataset.space.name}",
            found=f"no class for {', '.join(lost)}",
            remedy="take a dataset in the model's label space",
        )
    return dataset.to_space(space)


def parsed(parser: FaceParser, dataset: Dataset, fit: Fit) -> Iterator[tuple[Sample, UInt8Array]]:
    """Samples with what the model makes of them, at their own size."""
    for samples in batches_of(dataset):
        landmarks = None if parser.spec.warp is None else [_landmarks(sample) for sample in samples]
        if fit == "whole":
            maps = parser.batch([sample.image_bgr for sample in samples], landmarks=landmarks)
            yield from ((sample, found.labels) for sample, found in zip(samples, maps, strict=True))
            continue
        size = parser.spec.input_size
        squares = np.stack([squash_image(sample.image_bgr, size) for sample in samples])
        if landmarks is not None:
            landmarks = [
                points * (size / sample.labels.shape[1], size / sample.labels.shape[0])
                for points, sample in zip(landmarks, samples, strict=True)
            ]
        for sample, labels in zip(samples, parser.parse_squares(squares, landmarks), strict=True):
            height, width = sample.labels.shape
            yield sample, resize_labels(labels, (width, height))


def rounded(score: float) -> float | None:
    return None if np.isnan(score) else round(float(score), 2)


def batches_of(dataset: Dataset) -> Iterator[list[Sample]]:
    """Samples, read a batch ahead by other threads."""
    with ThreadPoolExecutor(BATCH) as pool:
        ahead = [pool.submit(dataset.__getitem__, index) for index in range(min(BATCH, len(dataset)))]
        for start in range(BATCH, len(dataset) + BATCH, BATCH):
            after = range(start, min(start + BATCH, len(dataset)))
            now, ahead = ahead, [pool.submit(dataset.__getitem__, index) for index in after]
            yield [sample.result() for sample in now]


def _landmarks(sample: Sample) -> npt.NDArray[np.float64]:
    if sample.landmarks_xy is None:
        raise DatasetError("this model needs five landmarks a face", found="a dataset without", remedy="take LaPa")
    return sample.landmarks_xy
