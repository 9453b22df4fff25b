"""The gate: F1 per class before and after, and whether what was lost is little enough for the file to be let out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_segface.data import Dataset
from edge_segface.data.check import class_pixels
from edge_segface.errors import QuantizeError
from edge_segface.evaluate import Scores, evaluate
from edge_segface.face.parser import FaceParser
from edge_segface.labels import LabelSpace
from edge_segface.quantize.modelopt import QuantizedModel, on_disk

ENOUGH_IMAGES = 30  # with a class, for its F1 alone to close the gate


@dataclass(frozen=True, eq=False)
class AccuracyDrop:
    before: Scores
    after: Scores
    images_with_class: npt.NDArray[np.int64]  # classes
    max_drop: float

    @property
    def space(self) -> LabelSpace:
        return self.after.matrix.space

    @property
    def mean_drop(self) -> float:
        """Over the classes that masks show: another has no F1, or 0 as soon as one pixel is taken for it."""
        shown = self.images_with_class > 0
        shown[0] = False
        return float(self.drops[shown].mean()) if shown.any() else 0.0

    @property
    def drops(self) -> npt.NDArray[np.float64]:
        """Per class; NaN for one that is nowhere, before or after."""
        drops: npt.NDArray[np.float64] = self.before.matrix.f1() - self.after.matrix.f1()
        return drops

    def by_name(self) -> dict[str, float]:
        names = zip(self.space.names, self.drops, strict=True)
        return {name: round(float(drop), 3) for name, drop in names if not np.isnan(drop)}

    def too_much(self) -> list[str]:
        """The classes, and the mean, that lose more than is allowed."""
        lost = [] if self.mean_drop <= self.max_drop else [f"the mean {self.mean_drop:.2f}"]
        judged = (self.images_with_class >= ENOUGH_IMAGES) & (self.drops > self.max_drop)
        judged[0] = False
        return lost + [f"{self.space.names[index]} {self.drops[index]:.2f}" for index in np.flatnonzero(judged)]

    def check(self) -> None:
        if lost := self.too_much():
            raise QuantizeError(
                f"this file loses more than {self.max_drop} F1, so it is not written",
                found=", ".join(lost),
                remedy="keep more layers in floating point, calibrate on other pictures, or say --allow-drop",
            )


def images_with_class(dataset: Dataset, space: LabelSpace) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = (class_pixels(dataset.to_space(space)) > 0).sum(axis=0)
    return counts


@dataclass
class AccuracyGate:
    """Scores models on labelled pictures, the float one once."""

    dataset: Dataset
    max_drop: float
    threads: int | None = None
    _before: dict[Path, tuple[Scores, npt.NDArray[np.int64]]] = field(default_factory=dict)

    def __call__(self, source: Path, lowered: QuantizedModel) -> AccuracyDrop:
        if source not in self._before:
            scores = self._scored(source)
            self._before[source] = scores, images_with_class(self.dataset, scores.matrix.space)
        before, counts = self._before[source]
        with on_disk(lowered) as path:
            return AccuracyDrop(before, self._scored(path), counts, self.max_drop)

    def _scored(self, path: Path) -> Scores:
        with FaceParser(path, threads=self.threads) as parser:
            return evaluate(parser, self.dataset)
