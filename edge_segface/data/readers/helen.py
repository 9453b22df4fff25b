"""Helen* (relabelled Helen): train and test with NAME_image.jpg and NAME_label.png, and 68 landmarks.

Landmarks are in `landmarks.txt` of each split, a line a picture: its name and 136 numbers, in pixels of a picture twice
as large. The face is cut out as SegFace does: a square 1.2 times the longer side of the landmarks' box, clipped to the
picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from edge_segface.data.dataset import (
    Dataset,
    Points,
    Sample,
    SampleError,
    check_ids,
    check_split,
    not_laid_out,
    read_lines,
    read_mask,
    read_sample_image,
)
from edge_segface.data.readers.landmarks import FIVE_OF_68, five_points
from edge_segface.errors import DatasetError
from edge_segface.labels import HELEN11

SPLITS = ("train", "test")
LANDMARKS = "landmarks.txt"
LANDMARK_SCALE = 2.0
GROW = 1.2


def open_helen(root: Path, split: str) -> Dataset:
    check_split(split, SPLITS)
    folder = root / split
    if not folder.is_dir():
        raise not_laid_out("helen", root, f"folder {split}")
    if not (folder / LANDMARKS).is_file():
        raise not_laid_out("helen", root, f"file {split}/{LANDMARKS}")
    stems = {path.name.removesuffix("_image.jpg") for path in folder.glob("*_image.jpg")}
    stems |= {path.name.removesuffix("_label.png") for path in folder.glob("*_label.png")}

    def files(name: str) -> Iterable[Path]:
        return (folder / f"{name}_image.jpg", folder / f"{name}_label.png", folder / LANDMARKS)

    def read(name: str) -> Sample:
        picture, mask, landmarks = files(name)
        points = _landmarks(landmarks).get(name)
        if points is None:
            raise SampleError("landmarks missing", found=name)
        sample = Sample(name, read_sample_image(picture), check_ids(read_mask(mask), HELEN11))
        return around(sample, points)

    return Dataset("helen", root, split, HELEN11, tuple(sorted(stems)), read, files)


def around(sample: Sample, landmarks_xy: Points) -> Sample:
    """The part of a sample around its 68 landmarks."""
    low, high = landmarks_xy.min(axis=0), landmarks_xy.max(axis=0)
    half = GROW * (high - low).max() / 2
    middle = (low + high) / 2
    left, top = np.maximum(np.rint(middle - half), 0).astype(int)
    right, bottom = np.minimum(np.rint(middle + half), sample.labels.shape[::-1]).astype(int)
    if right - left < 1 or bottom - top < 1:
        raise SampleError("landmarks outside the picture", found=sample.name)
    image = np.ascontiguousarray(sample.image_bgr[top:bottom, left:right])
    labels = np.ascontiguousarray(sample.labels[top:bottom, left:right])
    return Sample(sample.name, image, labels, five_points(landmarks_xy - (left, top), FIVE_OF_68))


@lru_cache(maxsize=4)
def _landmarks(path: Path) -> dict[str, Points]:
    landmarks = {}
    for line in read_lines(path):
        words = [word for word in re.split(r"[\s,]+", line) if word]
        if not words:
            continue
        try:
            points = np.asarray(words[1:], dtype=float).reshape(68, 2)
        except ValueError as error:
            raise DatasetError(f"{path} does not hold 68 landmarks a line", found=line[:60]) from error
        landmarks[re.sub(r"(_image)?(\.\w+)?$", "", words[0])] = points / LANDMARK_SCALE
    return landmarks
