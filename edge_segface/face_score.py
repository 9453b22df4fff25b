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

import numpy as np
import numpy.typing as npt

from edge_segface.assets import DEFAULT_MODEL, FACE_SCORE
from edge_segface.labels import LabelSpace

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

# Kinds of inner parts; a face shows at least two of them, because skin alone may be a hand or a wall.
KINDS = (
    ("left_brow", "right_brow", "left_eye", "right_eye", "glasses"),
    ("nose",),
    ("inner_mouth", "lower_lip", "upper_lip"),
)
SIDES = (("left_brow", "left_eye"), ("right_brow", "right_eye"))
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


def kinds_shown(labels: Labels, region: Region, space: LabelSpace) -> FloatArray:
    """Return for each kind of inner parts how clearly the region shows it, 0 to 1."""
    counts = np.bincount(_kind_of_id(space)[_inside(labels, region)], minlength=len(KINDS) + 1)
    return np.asarray(np.minimum(counts[1:] / counts.sum() / CLEAR, 1))


def features(labels: Labels, region: Region, space: LabelSpace) -> FloatArray:
    """Return what the score of a region depends on: a number of about 0 to 1 for each of FEATURES."""
    inside = _inside(labels, region)
    height, width = region.pixels.shape
    area = len(inside)
    margin = round(SURROUNDINGS * max(height, width))
    around = labels[
        max(0, region.top - margin) : region.top + height + margin,
        max(0, region.left - margin) : region.left + width + margin,
    ]
    counts = np.bincount(around.ravel(), minlength=256)
    hair, face = (counts[list(_ids(parts, space))].sum() for parts in (("hair", "hat"), ("skin", *sum(KINDS, ()))))
    sides = [np.isin(inside, _ids(side, space)).sum() / area / (CLEAR / 3) for side in SIDES]
    glasses = np.isin(inside, _ids(("glasses",), space)).sum() / area / CLEAR
    return np.array(
        [
            *kinds_shown(labels, region, space),
            min(1.0, max(min(sides), glasses)),
            _in_line(labels, region, space),
            area / (height * width),
            abs(math.log(height / (1.3 * width))),
            min(1.0, hair / area),
            area / max(face, area),
            min(1.0, math.log2(1 + min(height, width)) / math.log2(LARGE)),
        ]
    )


def _in_line(labels: Labels, region: Region, space: LabelSpace) -> float:
    """Return the cosine between the way from eyes to nose and from nose to mouth; 0 if one of them is missing."""
    height, width = region.pixels.shape
    box = labels[region.top : region.top + height, region.left : region.left + width]
    kinds = _kind_of_id(space)[box] * region.pixels
    places = [np.argwhere(kinds == number) for number in range(1, len(KINDS) + 1)]
    if not all(len(place) for place in places):
        return 0.0
    eyes, nose, mouth = (place.mean(axis=0) for place in places)
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


def _inside(labels: Labels, region: Region) -> Labels:
    height, width = region.pixels.shape
    box = labels[region.top : region.top + height, region.left : region.left + width]
    return np.asarray(box[region.pixels], dtype=np.uint8)


@cache
def _kind_of_id(space: LabelSpace) -> Labels:
    table = np.zeros(256, dtype=np.uint8)
    for number, kind in enumerate(KINDS, 1):
        table[list(_ids(kind, space))] = number
    return table


@cache
def _ids(parts: tuple[str, ...], space: LabelSpace) -> tuple[int, ...]:
    return tuple(space.parts.index(part) for part in parts if part in space.parts)
