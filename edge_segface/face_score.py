"""How likely a region of a class map is a face: a logistic regression on what the region shows.

`benchmarks/finder.py --fit` fits the coefficients for each bundled model, on as many images with faces as without.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.assets import DEFAULT_MODEL, FACE_SCORE
from edge_segface.frames import FloatArray, UInt8Array
from edge_segface.labels import PART_GROUPS, LabelSpace

Mask = npt.NDArray[np.bool_]

# Kinds of inner parts; a face shows at least two of them, because skin alone may be a hand or a wall.
KINDS = (
    ("left_brow", "right_brow", "left_eye", "right_eye", "glasses"),
    ("nose",),
    ("inner_mouth", "lower_lip", "upper_lip"),
)
SIDES = (("left_brow", "left_eye"), ("right_brow", "right_eye"))
COUNTED = (*KINDS, *SIDES, ("glasses",), ("hair", "hat"), PART_GROUPS["face"])  # groups of parts
CLEAR = 0.01  # share of the face from which a kind counts fully
SURROUNDINGS = 0.35  # width of the margin around a face's box in which hair is looked for, relative to the box
LARGE = 64  # side in pixels from which the size of a region says nothing more

FEATURES = ("eyes", "nose", "mouth", "both_sides", "in_line", "filled", "shape", "hair", "alone", "size")


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a class map that may be a face: its pixels, and the box of these in the map."""

    pixels: Mask
    left: int
    top: int

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        height, width = self.pixels.shape
        return float(self.left), float(self.top), float(self.left + width), float(self.top + height)

    def box_of(self, labels: UInt8Array, margin: int = 0) -> UInt8Array:
        """Return the part of the map that the box shows, with a margin as far as the map goes."""
        height, width = self.pixels.shape
        return labels[
            max(0, self.top - margin) : self.top + height + margin,
            max(0, self.left - margin) : self.left + width + margin,
        ]


def count_groups(labels: UInt8Array, space: LabelSpace, pixels: Mask | None = None) -> FloatArray:
    """Return how many pixels belong to each of COUNTED."""
    mask = None if pixels is None else pixels.view(np.uint8)
    counts = cv2.calcHist([labels], [0], mask, [256], [0, 256]).ravel()
    return np.asarray(_members(space) @ counts)


def kinds_shown(counts: FloatArray) -> FloatArray:
    """Return for each kind of inner parts how clearly a region with these counts shows it, 0 to 1."""
    return np.asarray(np.minimum(counts[: len(KINDS)] / counts[-1] / CLEAR, 1))


def features(labels: UInt8Array, region: Region, counts: FloatArray, space: LabelSpace) -> FloatArray:
    """Return what the score of a region with these counts depends on: a number of about 0 to 1 for each of FEATURES."""
    height, width = region.pixels.shape
    area = float(counts[-1])  # a region has no other parts than those of a face
    *_, left, right, glasses, _, _ = (counts / area / CLEAR).tolist()
    *_, hair, face = count_groups(region.box_of(labels, round(SURROUNDINGS * max(height, width))), space).tolist()
    return np.array(
        [
            *kinds_shown(counts),
            min(1.0, max(3 * min(left, right), glasses)),
            _in_line(region, region.box_of(labels), space),
            area / (height * width),
            abs(math.log(height / (1.3 * width))),
            min(1.0, hair / area),
            area / max(face, area),
            min(1.0, math.log2(1 + min(height, width)) / math.log2(LARGE)),
        ]
    )


def _in_line(region: Region, box: UInt8Array, space: LabelSpace) -> float:
    """Return the cosine between the way from eyes to nose and from nose to mouth; 0 if one of them is missing."""
    kinds = np.asarray(cv2.LUT(box, _kind_of_id(space))) * region.pixels
    moments = [cv2.moments((kinds == number).view(np.uint8), binaryImage=True) for number in range(1, len(KINDS) + 1)]
    if not all(each["m00"] for each in moments):
        return 0.0
    eyes, nose, mouth = (np.array([each["m10"], each["m01"]]) / each["m00"] for each in moments)
    upper, lower = nose - eyes, mouth - nose
    length = float(np.linalg.norm(upper) * np.linalg.norm(lower))
    return float(upper @ lower) / length if length > 0 else 0.0


@dataclass(frozen=True)
class FaceScore:
    """The coefficients of the regression, in the order of FEATURES."""

    coefficients: tuple[float, ...]
    bias: float

    def __call__(self, values: Sequence[float] | FloatArray) -> float:
        """Return the probability that a region with these features is a face."""
        return 1 / (1 + math.exp(-float(np.dot(self.coefficients, values)) - self.bias))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FaceScore:
        return cls(tuple(content["coefficients"][name] for name in FEATURES), content["bias"])


@cache
def score_for(model: str) -> FaceScore:
    """Return the score that was fitted to a bundled model; other models get that of the default one."""
    fitted = json.loads(FACE_SCORE.read_text(encoding="utf-8"))
    return FaceScore.from_dict(fitted.get(model.removesuffix("-int8"), fitted[DEFAULT_MODEL]))


@cache
def _members(space: LabelSpace) -> FloatArray:
    """Return a matrix (groups, 256) with 1 where an id belongs to a group."""
    members = np.zeros((len(COUNTED), 256))
    for row, group in zip(members, COUNTED, strict=True):
        row[list(space.present_ids(group))] = 1
    return members


@cache
def _kind_of_id(space: LabelSpace) -> UInt8Array:
    table = np.zeros(256, dtype=np.uint8)
    for number, kind in enumerate(KINDS, 1):
        table[list(space.present_ids(kind))] = number
    return table
