"""Samples (an image with its labels) and datasets of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_segface.errors import DatasetError
from edge_segface.frames import UInt8Array
from edge_segface.labels import LabelSpace, remap_table

Points = npt.NDArray[np.float64]  # (n, 2): x and y in pixels


class SampleError(DatasetError):
    """A sample that cannot be used. `what` names the kind of problem and is the same for all samples that have it."""


@dataclass(frozen=True, eq=False)
class Sample:
    """An image (h, w, 3) with one class id per pixel (h, w), and for some datasets five landmarks (5, 2)."""

    name: str
    image_bgr: UInt8Array
    labels: UInt8Array
    landmarks_xy: Points | None = None

    def __post_init__(self) -> None:
        if self.image_bgr.shape[:2] != self.labels.shape:
            found = f"{_size(self.image_bgr)} and {_size(self.labels)}"
            raise SampleError("image and mask differ in size", found=found)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The samples of one split, read one at a time, by index or by name."""

    kind: str
    root: Path
    split: str
    space: LabelSpace
    names: tuple[str, ...]
    read: Callable[[str], Sample]
    files: Callable[[str], Iterable[Path]]  # the files that a sample is read from
    squashed: bool = False  # its paper resizes every image to a square, ignoring the aspect ratio
    skipped: dict[str, list[str]] = field(default_factory=dict)  # kind of problem -> names of unusable samples
    mask_space: LabelSpace | None = None  # label space of the files, where it differs from `space`

    def __post_init__(self) -> None:
        if not self.names:
            raise DatasetError(f"the {self.split} split of {self.root} is empty", found="no samples")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return self.read(self.names[index])

    def only(self, names: Sequence[str]) -> Dataset:
        """Return the dataset restricted to these samples."""
        return replace(self, names=tuple(names))

    def joined(self, other: Dataset) -> Dataset:
        """Return the dataset with the samples of another one of the same label space, whose names begin with +."""
        if other.space != self.space:
            raise DatasetError(
                f"{other.root} cannot be added to {self.root}", found=f"{other.space.name} and {self.space.name}"
            )
        added = {f"+{name}": name for name in other.names}
        read, files = self.read, self.files

        def read_either(name: str) -> Sample:
            return replace(other.read(added[name]), name=name) if name in added else read(name)

        def files_of_either(name: str) -> Iterable[Path]:
            return other.files(added[name]) if name in added else files(name)

        return replace(self, names=(*self.names, *added), read=read_either, files=files_of_either)

    def to_space(self, target: LabelSpace) -> Dataset:
        """Return the dataset with its labels in another space; parts that the target lacks are merged into others."""
        if target == self.space:
            return self
        table, read = remap_table(self.space, target, drop_missing=True), self.read

        def read_remapped(name: str) -> Sample:
            sample = read(name)
            return replace(sample, labels=table[sample.labels])

        return replace(self, space=target, read=read_remapped, mask_space=self.mask_space or self.space)


def _size(array: UInt8Array) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
