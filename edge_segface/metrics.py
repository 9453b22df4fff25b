"""A streaming confusion matrix, from which all accuracy scores are pooled, as in SegFace's evaluation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_segface.errors import LabelError
from edge_segface.labels import LabelSpace

Scores = npt.NDArray[np.float64]


class ConfusionMatrix:
    """Counts of (true class, predicted class) over any number of label maps. All scores are 0..100.

    Counts are pooled over all pixels of all images; scores are not means over images. A class that occurs neither in
    the truth nor in the prediction has no score (NaN) and enters no mean.
    """

    def __init__(self, space: LabelSpace) -> None:
        self.space = space
        self.counts = np.zeros((len(space), len(space)), dtype=np.int64)

    def update(self, predicted: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], ignore: int | None = None) -> None:
        """Add label maps of one shape. Pixels whose truth is `ignore` do not count."""
        if predicted.shape != truth.shape:
            raise LabelError(
                "prediction and truth must have the same shape", found=f"{predicted.shape} and {truth.shape}"
            )
        counted = slice(None) if ignore is None else truth.ravel() != ignore
        row, column = truth.ravel()[counted], predicted.ravel()[counted]
        classes = len(self.space)
        for name, labels in (("truth", row), ("prediction", column)):
            if labels.size and labels.max() >= classes:
                raise LabelError(f"the {name} has ids outside {self.space.name}", found=int(labels.max()))
        pairs = row.astype(np.intp) * classes + column
        self.counts += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)

    def f1(self) -> Scores:
        """Return 2 TP / (truth + prediction) of each class."""
        return _percent(2 * self._hits, self._truth + self._predicted)

    def iou(self) -> Scores:
        """Return TP / (truth + prediction - TP) of each class."""
        return _percent(self._hits, self._truth + self._predicted - self._hits)

    def mean_f1(self) -> float:
        """Return the mean over all classes except background."""
        return _mean(self.f1()[1:])

    def miou(self) -> float:
        """Return the mean over all classes including background."""
        return _mean(self.iou())

    def pixel_accuracy(self) -> float:
        return float(_percent(self._hits.sum(), self.counts.sum()))

    def by_name(self, scores: Scores) -> dict[str, float | None]:
        return {
            name: None if np.isnan(score) else float(score)
            for name, score in zip(self.space.names, scores, strict=True)
        }

    @property
    def _hits(self) -> npt.NDArray[np.int64]:
        return np.diag(self.counts)

    @property
    def _truth(self) -> npt.NDArray[np.int64]:
        return np.asarray(self.counts.sum(axis=1))

    @property
    def _predicted(self) -> npt.NDArray[np.int64]:
        return np.asarray(self.counts.sum(axis=0))


def _percent(part: npt.ArrayLike, whole: npt.ArrayLike) -> Scores:
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    scores: Scores = np.divide(100 * part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return scores


def _mean(scores: Scores) -> float:
    there = scores[~np.isnan(scores)]
    return float(there.mean()) if there.size else float("nan")
