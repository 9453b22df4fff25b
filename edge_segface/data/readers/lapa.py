"""LaPa as published: train, val and test, each with images, labels and 106 landmarks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edge_segface.data.readers.files import check_ids, read_mask, read_sample_image
from edge_segface.data.readers.landmarks import FIVE_OF_106, five_points, read_points
from edge_segface.data.sample import Dataset, Sample
from edge_segface.labels import LabelSpace


def open_lapa(root: Path, split: str, space: LabelSpace) -> Dataset:
    """Open one split; every sample has five landmarks."""
    folder = root / split
    images = {path.stem for path in (folder / "images").glob("*.jpg")}
    masks = {path.stem for path in (folder / "labels").glob("*.png")}

    def files(name: str) -> Iterable[Path]:
        return (
            folder / "images" / f"{name}.jpg",
            folder / "labels" / f"{name}.png",
            folder / "landmarks" / f"{name}.txt",
        )

    def read(name: str) -> Sample:
        image, mask, landmarks = files(name)
        points = five_points(read_points(landmarks, 106), FIVE_OF_106)
        return Sample(name, read_sample_image(image), check_ids(read_mask(mask), space), points)

    return Dataset("lapa", root, split, space, tuple(sorted(images | masks)), read, files, squashed=True)
