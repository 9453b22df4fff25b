"""Locations of faces in a class map, which let the parser find its own faces in a whole frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.assets import DEFAULT_MODEL
from edge_segface.face_score import FaceScore, Region, count_groups, features, kinds_shown, score_for
from edge_segface.frames import ClassMap, RoI, UInt8Array
from edge_segface.labels import PART_GROUPS, LabelSpace

FACE_PARTS = PART_GROUPS["face"]
HEAD_PARTS = (*FACE_PARTS, "hair", "hat", "left_ear", "right_ear", "earring")

ROI_GROWTH = 2.0  # side of the RoI relative to the longer side of the face's box: includes head, hat and shoulders
MIN_FILLED = 0.35  # least share of the box that the face covers
NOSES_APART = 0.35  # least distance of the noses of two faces that touch, relative to the longer side of their box
MIN_NOSE = 0.25  # smallest of these noses, relative to the largest

Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Face:
    """A face's box by its outer edges (left, top, right, bottom) in pixels, and the probability that it is one."""

    box_xyxy: Box
    score: float
    features: tuple[float, ...] = field(default=(), repr=False, compare=False)  # that the score was computed from

    @property
    def height(self) -> float:
        return self.box_xyxy[3] - self.box_xyxy[1]

    @property
    def centre_xy(self) -> tuple[float, float]:
        return (self.box_xyxy[0] + self.box_xyxy[2]) / 2, (self.box_xyxy[1] + self.box_xyxy[3]) / 2

    @property
    def roi(self) -> RoI:
        return RoI.from_box_xyxy(self.box_xyxy, grow=ROI_GROWTH)


def face_ids(space: LabelSpace) -> npt.NDArray[np.uint8]:
    return np.array(space.present_ids(FACE_PARTS), dtype=np.uint8)


def find_faces(
    class_map: ClassMap, *, min_side: int = 10, kinds: float = 2, score: FaceScore | None = None
) -> list[Face]:
    """Return the faces of a class map, largest first: components of skin with at least `kinds` kinds of inner parts."""
    labels, space = class_map.labels, class_map.space
    score = score or score_for(DEFAULT_MODEL)
    faces = []
    for region in face_regions(labels, space, min_side):
        counts = count_groups(region.box_of(labels), space, region.pixels)
        if kinds_shown(counts).sum() >= kinds:
            values = features(labels, region, counts, space)
            faces.append(Face(region.box_xyxy, score(values), tuple(values.tolist())))
    return sorted(faces, key=lambda face: -face.height)


def face_regions(labels: UInt8Array, space: LabelSpace, min_side: int) -> list[Region]:
    """Return the components of skin and the parts on it that have the size and the shape of a face."""
    face = np.asarray(cv2.LUT(labels, _table(FACE_PARTS, space)), dtype=np.uint8)
    x, y, across, down = cv2.boundingRect(face)  # bounding box of all face pixels, with the margin that opening needs
    x, y, right, low = max(x - 2, 0), max(y - 2, 0), x + across + 2, y + down + 2
    face, labels = face[y:low, x:right], labels[y:low, x:right]  # what follows is in pixels of this box
    if not face.size:
        return []
    # Opening cuts thin bridges between two faces.
    opened = np.asarray(cv2.morphologyEx(face, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    count, components, numbers, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    found = []
    for component in range(1, count):
        left, top, width, height, area = (int(number) for number in numbers[component])
        if min(width, height) < min_side or area < MIN_FILLED * width * height:
            continue
        area_slice = np.s_[top : top + height, left : left + width]
        region = components[area_slice] == component
        for part in _split_by_noses(region, labels[area_slice], space):
            inner_left, inner_top, across, down = cv2.boundingRect(part.astype(np.uint8))
            if min(across, down) >= min_side:
                pixels = part[inner_top : inner_top + down, inner_left : inner_left + across]
                found.append(Region(pixels, x + left + inner_left, y + top + inner_top))
    return found


def _split_by_noses(region: Mask, labels: UInt8Array, space: LabelSpace) -> list[Mask]:
    """Split the region of faces that touch, so that each has one nose; a region with one nose stays whole."""
    nose = np.asarray(cv2.LUT(labels, _table(("nose",), space)), dtype=np.uint8) & region
    count, _, numbers, centres = cv2.connectedComponentsWithStats(nose, connectivity=8)
    areas = numbers[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas) + 1
    apart = NOSES_APART * max(region.shape)
    kept: list[npt.NDArray[np.float64]] = []
    for index in order.tolist():
        large = numbers[index, cv2.CC_STAT_AREA] >= MIN_NOSE * areas.max()
        if large and all(math.dist(centres[index], other) >= apart for other in kept):
            kept.append(centres[index])
    if count < 3 or len(kept) < 2:
        return [region]
    rows, columns = np.indices(region.shape)
    distances = np.stack([np.hypot(columns - x, rows - y) for x, y in kept])
    nearest = distances.argmin(axis=0)
    return [region & (nearest == index) for index in range(len(kept))]


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
    table[list(space.present_ids(parts))] = 1
    return table
