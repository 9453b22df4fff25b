"""The gate: F1 per class before and after, and whether what was lost is little enough for the file to be let out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_segface.data import Dataset
from edge_segface.data.dataset import class_pixels
from edge_segface.errors import QuantizeError
from edge_segface.evaluate import Scores
from edge_segface.labels import LabelSpace

ENOUGH_PICTURES = 30  # with a class, for its F1 alone to close the gate


@dataclass(frozen=True, eq=False)
class Verdict:
    before: Scores
    after: Scores
    pictures_with: npt.NDArray[np.int64]  # classes
    max_drop: float

    @property
    def space(self) -> LabelSpace:
        return self.after.matrix.space

    @property
    def mean_drop(self) -> float:
        """Over the classes that masks show: another has no F1, or 0 as soon as one pixel is taken for it."""
        shown = self.pictures_with > 0
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
        judged = (self.pictures_with >= ENOUGH_PICTURES) & (self.drops > self.max_drop)
        judged[0] = False
        return lost + [f"{self.space.names[index]} {self.drops[index]:.2f}" for index in np.flatnonzero(judged)]

    def check(self) -> None:
        if lost := self.too_much():
            raise QuantizeError(
                f"this file loses more than {self.max_drop} F1, so it is not written",
                found=", ".join(lost),
                remedy="keep more layers in floating point, calibrate on other pictures, or say --allow-drop",
            )


def pictures_with(dataset: Dataset, space: LabelSpace) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = (class_pixels(dataset.to_space(space)) > 0).sum(axis=0)
    return counts
