"""Measure the accuracy drop of a quantized model, and decide whether its file may be written."""

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
from edge_segface.progress import NO_PROGRESS, Progress
from edge_segface.quantize.quantized_model import QuantizedModel, temporary_file

ENOUGH_IMAGES = 30  # images with a class, from which its own F1 counts


@dataclass(frozen=True, eq=False)
class AccuracyDrop:
    """F1 before and after quantization, and the largest drop allowed."""

    before: Scores
    after: Scores
    images_with_class: npt.NDArray[np.int64]  # classes
    max_drop: float

    @property
    def space(self) -> LabelSpace:
        return self.after.matrix.space

    @property
    def drops(self) -> npt.NDArray[np.float64]:
        """Drop per class; NaN for classes that are in no mask and no prediction."""
        drops: npt.NDArray[np.float64] = self.before.matrix.f1() - self.after.matrix.f1()
        return drops

    @property
    def mean_drop(self) -> float:
        """Mean over the classes in the masks. Others have no F1, or 0 as soon as one pixel is predicted."""
        labelled = self.images_with_class > 0
        labelled[0] = False
        return float(self.drops[labelled].mean()) if labelled.any() else 0.0

    def by_name(self) -> dict[str, float]:
        """Return class name -> drop, for an artefact's record."""
        drops = zip(self.space.names, self.drops, strict=True)
        return {name: round(float(drop), 3) for name, drop in drops if not np.isnan(drop)}

    def exceeded(self) -> list[str]:
        """Return the mean and the classes, each with its drop, that drop by more than is allowed."""
        mean = [] if self.mean_drop <= self.max_drop else [f"the mean {self.mean_drop:.2f}"]
        too_much = (self.images_with_class >= ENOUGH_IMAGES) & (self.drops > self.max_drop)
        too_much[0] = False
        return mean + [f"{self.space.names[index]} {self.drops[index]:.2f}" for index in np.flatnonzero(too_much)]

    @property
    def judged(self) -> str:
        """One line: of what the drop was judged, and which classes were in too few images for that."""
        names, counts = self.space.names[1:], self.images_with_class[1:]
        judged = [name for name, count in zip(names, counts, strict=True) if count >= ENOUGH_IMAGES]
        rare = [f"{name} {count}" for name, count in zip(names, counts, strict=True) if count < ENOUGH_IMAGES]
        if not judged:
            most = int(counts.max(initial=0))
            return (
                f"judged: the mean only; no class was, as none is in {ENOUGH_IMAGES} images or more (at most in {most})"
            )
        text = f"judged: the mean and {len(judged)} of {len(names)} classes: {', '.join(judged)}"
        if not rare:
            return text
        return f"{text}; {len(rare)} are in fewer than {ENOUGH_IMAGES} images and were not: {', '.join(rare)}"

    def check(self) -> None:
        """Raise if any drop is more than is allowed."""
        if exceeded := self.exceeded():
            raise QuantizeError(
                f"F1 drops by more than {self.max_drop}, so no file was written",
                found=", ".join(exceeded),
                remedy="keep more layers in floating point, calibrate on other images, or pass --allow-drop",
            )


@dataclass
class AccuracyGate:
    """Scores models on labelled images; each fp32 source only once."""

    dataset: Dataset
    max_drop: float
    threads: int | None = None
    _sources: dict[Path, tuple[Scores, npt.NDArray[np.int64]]] = field(default_factory=dict)

    def measure(self, source: Path, quantized: QuantizedModel, *, progress: Progress = NO_PROGRESS) -> AccuracyDrop:
        """Return the accuracy drop of a quantized model against its fp32 source."""
        if source not in self._sources:
            scores = self._scores(source, "scoring fp32", progress)
            self._sources[source] = scores, _images_with_class(self.dataset, scores.matrix.space)
        before, counts = self._sources[source]
        with temporary_file(quantized) as path:
            after = self._scores(path, f"scoring {quantized.spec.precision}", progress)
        return AccuracyDrop(before, after, counts, self.max_drop)

    def _scores(self, path: Path, stage: str, progress: Progress) -> Scores:
        with FaceParser(path, runtime="onnxruntime", threads=self.threads) as parser:
            return evaluate(parser, self.dataset, stage=stage, progress=progress)


def _images_with_class(dataset: Dataset, space: LabelSpace) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = (class_pixels(dataset.to_space(space)) > 0).sum(axis=0)
    return counts
