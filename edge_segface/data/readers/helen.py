"""Helen* (relabelled Helen): train and test with NAME_image.jpg and NAME_label.png, and 68 landmarks.

Each split has a `landmarks.txt` with one line per image: its name and 136 numbers, in pixels of an image twice as
large. Faces are cropped as SegFace does: a square 1.2 times the longer side of the landmarks' box, within the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from edge_segface.data.readers.files import check_ids, read_lines, read_mask, read_sample_image
from edge_segface.data.readers.landmarks import FIVE_OF_68, five_points
from edge_segface.data.sample import Dataset, Points, Sample, SampleError
from edge_segface.errors import DatasetError
from edge_segface.labels import LabelSpace

LANDMARKS = "landmarks.txt"
LANDMARK_SCALE = 2.0
CROP_SCALE = 1.2


def open_helen(root: Path, split: str, space: LabelSpace) -> Dataset:
    """Open one split, cropped to the faces; every sample has five landmarks."""
    folder = root / split
    names = {path.name.removesuffix("_image.jpg") for path in folder.glob("*_image.jpg")}
    names |= {path.name.removesuffix("_label.png") for path in folder.glob("*_label.png")}

    def files(name: str) -> Iterable[Path]:
        return (folder / f"{name}_image.jpg", folder / f"{name}_label.png", folder / LANDMARKS)

    def read(name: str) -> Sample:
        image, mask, landmarks = files(name)
        points = _read_landmarks(landmarks).get(name)
        if points is None:
            raise SampleError("landmarks missing", found=name)
        sample = Sample(name, read_sample_image(image), check_ids(read_mask(mask), space))
        return crop_to_face(sample, points)

    return Dataset("helen", root, split, space, tuple(sorted(names)), read, files, squashed=True)


def crop_to_face(sample: Sample, landmarks_xy: Points) -> Sample:
    """Crop a sample around its 68 landmarks, and keep five of them."""
    low, high = landmarks_xy.min(axis=0), landmarks_xy.max(axis=0)
    half = CROP_SCALE * (high - low).max() / 2
    middle = (low + high) / 2
    left, top = np.maximum(np.rint(middle - half), 0).astype(int)
    right, bottom = np.minimum(np.rint(middle + half), sample.labels.shape[::-1]).astype(int)
    if right - left < 1 or bottom - top < 1:
        raise SampleError("landmarks outside the image", found=sample.name)
    image = np.ascontiguousarray(sample.image_bgr[top:bottom, left:right])
    labels = np.ascontiguousarray(sample.labels[top:bottom, left:right])
    return Sample(sample.name, image, labels, five_points(landmarks_xy - (left, top), FIVE_OF_68))


@lru_cache(maxsize=4)
def _read_landmarks(path: Path) -> dict[str, Points]:
    landmarks = {}
    for line in read_lines(path):
        words = [word for word in re.split(r"[\s,]+", line) if word]
        if not words:
            continue
        try:
            points = np.asarray(words[1:], dtype=float).reshape(68, 2)
        except ValueError as error:
            raise DatasetError(f"{path} does not have 68 landmarks in every line", found=line[:60]) from error
        landmarks[re.sub(r"(_image)?(\.\w+)?$", "", words[0])] = points / LANDMARK_SCALE
    return landmarks
