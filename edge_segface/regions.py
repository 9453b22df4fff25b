"""Locations of faces in a class map, which let the parser find its own faces in a whole frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.frames import ClassMap, RoI, UInt8Array
from edge_segface.labels import PART_GROUPS, LabelSpace

FACE_PARTS = PART_GROUPS["face"]
HEAD_PARTS = (*FACE_PARTS, "hair", "hat", "left_ear", "right_ear", "earring")
# Kinds of inner parts; a face shows at least two of them, because skin alone may be a hand or a wall.
KINDS = (
    ("left_brow", "right_brow", "left_eye", "right_eye", "glasses"),
    ("nose",),
    ("inner_mouth", "lower_lip", "upper_lip"),
)

ROI_GROWTH = 2.0  # side of the RoI relative to the longer side of the face's box: includes head, hat and shoulders
MIN_FILLED = 0.35  # least share of the box that the face covers


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Face:
    """A face's box by its outer edges (left, top, right, bottom) in pixels, and a score of 0..1."""

    box_xyxy: Box
    score: float

    @property
    def height(self) -> float:
        return self.box_xyxy[3] - self.box_xyxy[1]

    @property
    def roi(self) -> RoI:
        return RoI.from_box_xyxy(self.box_xyxy, grow=ROI_GROWTH)


def face_ids(space: LabelSpace) -> npt.NDArray[np.uint8]:
    return _ids(FACE_PARTS, space)


def find_faces(class_map: ClassMap, *, min_side: int = 10, kinds: float = 2) -> list[Face]:
    """Return the faces of a class map, largest first: components of skin with at least `kinds` kinds of inner parts."""
    labels, space = class_map.labels, class_map.space
    face = np.asarray(cv2.LUT(labels, _table(FACE_PARTS, space)), dtype=np.uint8)
    x, y, across, down = cv2.boundingRect(face)  # bounding box of all face pixels, with the margin that opening needs
    x, y, right, low = max(x - 2, 0), max(y - 2, 0), x + across + 2, y + down + 2
    face, labels = face[y:low, x:right], labels[y:low, x:right]
    if not face.size:
        return []
    # Opening cuts thin bridges between two faces.
    opened = np.asarray(cv2.morphologyEx(face, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    count, components, numbers, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    kind_of_id = _kind_of_id(space)
    found = []
    for component in range(1, count):
        left, top, width, height, area = (int(number) for number in numbers[component])
        if min(width, height) < min_side or area < MIN_FILLED * width * height:
            continue
        area_slice = np.s_[top : top + height, left : left + width]
        shares = (
            np.bincount(kind_of_id[labels[area_slice][components[area_slice] == component]], minlength=len(KINDS) + 1)[
                1:
            ]
            / area
        )
        evidence = np.minimum(shares / 0.01, 1).sum()  # a kind counts fully from 1 % of the face on
        if evidence >= kinds:
            box = (float(x + left), float(y + top), float(x + left + width), float(y + top + height))
            found.append(Face(box, float(evidence / len(KINDS))))
    return sorted(found, key=lambda face: -face.height)


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (sum(areas) - width * height)


def head_box(labels: UInt8Array, space: LabelSpace, face: Box) -> Box:
    """Return the box of face, hair and hat, within one face length so that a neighbour's hair is excluded."""
    reach = max(face[2] - face[0], face[3] - face[1])
    left, top = (max(0, round(edge - reach)) for edge in face[:2])
    right, bottom = (round(edge + reach) for edge in face[2:])
    part = np.ascontiguousarray(labels[top:bottom, left:right])
    x, y, width, height = cv2.boundingRect(np.asarray(cv2.LUT(part, _table(HEAD_PARTS, space))))
    return float(left + x), float(top + y), float(left + x + width), float(top + y + height)


@cache
def _table(parts: tuple[str, ...], space: LabelSpace) -> UInt8Array:
    """Return a lookup table with 1 for the ids of these parts, else 0."""
    table = np.zeros(256, dtype=np.uint8)
    table[_ids(parts, space)] = 1
    return table


@cache
def _kind_of_id(space: LabelSpace) -> npt.NDArray[np.uint8]:
    table = np.zeros(256, dtype=np.uint8)
    for number, kind in enumerate(KINDS, 1):
        table[_ids(kind, space)] = number
    return table


def _ids(parts: tuple[str, ...], space: LabelSpace) -> UInt8Array:
    return np.array([space.parts.index(part) for part in parts if part in space.parts], dtype=np.uint8)
