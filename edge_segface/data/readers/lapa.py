"""LaPa as it is published: train, val and test, each with images, labels and 106 landmarks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edge_segface.data.dataset import (
    Dataset,
    Sample,
    check_ids,
    check_split,
    not_laid_out,
    read_mask,
    read_sample_image,
)
from edge_segface.data.readers.landmarks import FIVE_OF_106, five_points, read_points
from edge_segface.labels import LAPA11

SPLITS = ("train", "val", "test")


def open_lapa(root: Path, split: str) -> Dataset:
    check_split(split, SPLITS)
    folder = root / split
    for needed in ("images", "labels", "landmarks"):
        if not (folder / needed).is_dir():
            raise not_laid_out("lapa", root, f"folder {split}/{needed}")
    pictures = {path.stem for path in (folder / "images").glob("*.jpg")}
    masks = {path.stem for path in (folder / "labels").glob("*.png")}

    def files(name: str) -> Iterable[Path]:
        return (
            folder / "images" / f"{name}.jpg",
            folder / "labels" / f"{name}.png",
            folder / "landmarks" / f"{name}.txt",
        )

    def read(name: str) -> Sample:
        picture, mask, landmarks = files(name)
        points = five_points(read_points(landmarks, 106), FIVE_OF_106)
        return Sample(name, read_sample_image(picture), check_ids(read_mask(mask), LAPA11), points)

    return Dataset("lapa", root, split, LAPA11, tuple(sorted(pictures | masks)), read, files)
