"""Accuracy on a labelled dataset, by SegFace's protocol: pooled pixel counts, mean F1 without background.

An image enters the model as in use: letterboxed into the crop, as `parse` does, or squashed to it for LaPa and Helen,
as in their papers. Labels are compared at the mask's own size, so that models with different inputs compare fairly;
`score_size` resizes both first.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, TypedDict

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
from edge_segface.progress import NO_PROGRESS, Progress

Fit = Literal["squash", "whole"]
BATCH = 8

# Groups of classes that papers on Helen report; `overall` pools all of them.
HELEN_MERGED = {
    "eyes": ("left_eye", "right_eye"),
    "brows": ("left_brow", "right_brow"),
    "nose": ("nose",),
    "mouth": ("upper_lip", "inner_mouth", "lower_lip"),
}


class _SpaceScores(TypedDict, total=False):
    long_tail_f1: float | None  # where the label space has long-tail classes
    merged_f1: dict[str, float | None]  # for Helen


class ScoreReport(_SpaceScores):
    """Scores as written to JSON, 0..100; None for a class that occurs nowhere."""

    mean_f1: float | None
    miou: float | None
    f1: dict[str, float | None]  # by class
    iou: dict[str, float | None]
    pixel_accuracy: float | None
    artefacts: float | None
    pictures: int


class DatasetReport(TypedDict):
    """What was scored, and how images were fitted into the crop."""

    kind: str
    split: str
    score_size: int | Literal["own"]
    fit: Fit | Literal["default"]


class EvaluationReport(ScoreReport):
    """What `edge-segface evaluate --json` writes."""

    model: str
    engine: str
    dataset: DatasetReport
    label_space: str  # of the masks


@dataclass(frozen=True, eq=False)
class Scores:
    """Counts over a dataset, from which all scores are computed."""

    matrix: ConfusionMatrix
    component_errors: npt.NDArray[np.int64]  # classes; |components predicted - components in the mask|, summed
    images: int

    @classmethod
    def empty(cls, space: LabelSpace) -> Scores:
        return cls(ConfusionMatrix(space), np.zeros(len(space), dtype=np.int64), 0)

    @property
    def artefacts(self) -> float:
        """Mean number of surplus or missing components per image and class (Masi et al.'s measure)."""
        return float(self.component_errors.sum() / max(1, self.images) / len(self.component_errors))

    def long_tail_f1(self) -> float:
        """Return the mean F1 over the long-tail classes of the label space."""
        tail = self.matrix.f1()[list(self.matrix.space.long_tail)]
        return float(np.nanmean(tail)) if tail.size and not np.isnan(tail).all() else float("nan")

    def merged_f1(self) -> dict[str, float]:
        """Return F1 of Helen's merged classes and `overall`, where a pixel counts if its merged class is right."""
        space, counts = self.matrix.space, self.matrix.counts
        scores, all_hits, all_sizes = {}, 0, 0
        for name, parts in HELEN_MERGED.items():
            ids = [space.id_of(part) for part in parts]
            hits = counts[np.ix_(ids, ids)].sum()
            sizes = counts[ids].sum() + counts[:, ids].sum()
            scores[name] = 200 * hits / sizes if sizes else float("nan")
            all_hits, all_sizes = all_hits + hits, all_sizes + sizes
        return {**scores, "overall": 200 * all_hits / all_sizes if all_sizes else float("nan")}

    def report(self) -> ScoreReport:
        """Return all scores, rounded to two decimals."""
        matrix, space = self.matrix, self.matrix.space
        report: ScoreReport = {
            "mean_f1": _rounded(matrix.mean_f1()),
            "miou": _rounded(matrix.miou()),
            "f1": _by_class(space, matrix.f1()),
            "iou": _by_class(space, matrix.iou()),
            "pixel_accuracy": _rounded(matrix.pixel_accuracy()),
            "artefacts": _rounded(self.artefacts),
            "pictures": self.images,
        }
        if space.long_tail:
            report["long_tail_f1"] = _rounded(self.long_tail_f1())
        if space.name == "helen11":
            report["merged_f1"] = {name: _rounded(score) for name, score in self.merged_f1().items()}
        return report


def evaluate(
    parser: FaceParser,
    dataset: Dataset,
    *,
    fit: Fit | None = None,
    score_size: int | None = None,
    stage: str = "scoring",
    progress: Progress = NO_PROGRESS,
) -> Scores:
    """Parse every image of a dataset and count pixels and components. The model must have a class for every label.

    `fit` is how an image becomes a crop (default: as usual for the dataset); `score_size` is the side at which labels
    are compared (default: each mask's own size); `stage` names it for the progress.
    """
    dataset = to_model_space(dataset, parser.space)
    scores = replace(Scores.empty(parser.space), images=len(dataset))
    classes = len(parser.space)
    progress.stage(stage, len(dataset))
    for sample, predicted in predictions(parser, dataset, fit or default_fit(dataset)):
        truth = sample.labels
        if score_size is not None:
            truth, predicted = (resize_labels(labels, (score_size, score_size)) for labels in (truth, predicted))
        scores.matrix.update(predicted, truth)
        scores.component_errors[:] += np.abs(component_counts(predicted, classes) - component_counts(truth, classes))
        progress.advance()
    return scores


def evaluation_report(
    scores: Scores, parser: FaceParser, dataset: Dataset, *, fit: Fit | None = None, score_size: int | None = None
) -> EvaluationReport:
    """Return the scores together with what was scored: model, engine, dataset and settings."""
    return {
        **scores.report(),
        "model": parser.spec.name,
        "engine": parser.engine.description,
        "dataset": {
            "kind": dataset.kind,
            "split": dataset.split,
            "score_size": score_size or "own",
            "fit": fit or "default",
        },
        "label_space": (dataset.mask_space or dataset.space).name,
    }


def default_fit(dataset: Dataset) -> Fit:
    """Return how the dataset's images are usually fitted into a crop."""
    return "squash" if dataset.squashed else "whole"


def to_model_space(dataset: Dataset, space: LabelSpace) -> Dataset:
    """Return the dataset with its labels in the model's space. Raise if that lacks a class for some of them."""
    if lost := lost_parts(dataset.space, space):
        raise DatasetError(
            f"a model of {space.name} cannot be scored on {dataset.space.name}",
            found=f"no class for {', '.join(lost)}",
            remedy="use a dataset in the model's label space",
        )
    return dataset.to_space(space)


def predictions(parser: FaceParser, dataset: Dataset, fit: Fit) -> Iterator[tuple[Sample, UInt8Array]]:
    """Yield each sample with the labels that the model predicts, at the sample's own size."""
    for samples in read_batches(dataset):
        landmarks = None if parser.spec.warp is None else [_landmarks(sample) for sample in samples]
        if fit == "whole":
            maps = parser.batch([sample.image_bgr for sample in samples], landmarks=landmarks)
            yield from ((sample, class_map.labels) for sample, class_map in zip(samples, maps, strict=True))
            continue
        size = parser.spec.input_size
        crops = np.stack([squash_image(sample.image_bgr, size) for sample in samples])
        if landmarks is not None:
            landmarks = [
                points * (size / sample.labels.shape[1], size / sample.labels.shape[0])
                for points, sample in zip(landmarks, samples, strict=True)
            ]
        for sample, labels in zip(samples, parser.parse_crops(crops, landmarks), strict=True):
            height, width = sample.labels.shape
            yield sample, resize_labels(labels, (width, height))


def read_batches(dataset: Dataset) -> Iterator[list[Sample]]:
    """Yield lists of samples; other threads read one batch ahead."""
    with ThreadPoolExecutor(BATCH) as pool:
        pending = [pool.submit(dataset.__getitem__, index) for index in range(min(BATCH, len(dataset)))]
        for start in range(BATCH, len(dataset) + BATCH, BATCH):
            following = range(start, min(start + BATCH, len(dataset)))
            current, pending = pending, [pool.submit(dataset.__getitem__, index) for index in following]
            yield [sample.result() for sample in current]


def _landmarks(sample: Sample) -> npt.NDArray[np.float64]:
    if sample.landmarks_xy is None:
        raise DatasetError(
            "this model needs five landmarks a face", found="a dataset without landmarks", remedy="use LaPa"
        )
    return sample.landmarks_xy


def _by_class(space: LabelSpace, scores: npt.NDArray[np.float64]) -> dict[str, float | None]:
    return {name: _rounded(score) for name, score in zip(space.names, scores, strict=True)}


def _rounded(score: float) -> float | None:
    return None if np.isnan(score) else round(float(score), 2)
