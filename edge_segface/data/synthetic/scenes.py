"""Whole frames composed of heads: cut out by their labels, scaled, turned and put before a backdrop.

They train the parser to find faces in camera frames by itself, without a separate face detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.data.geometry import Matrix, similarity_matrix, warp_image, warp_labels
from edge_segface.data.sample import Sample
from edge_segface.data.synthetic.backdrops import BackdropPool, random_backdrop
from edge_segface.frames import UInt8Array
from edge_segface.labels import LabelSpace
from edge_segface.regions import face_ids

MIN_VISIBLE = 0.6  # share of a face that must not be hidden by others
MAX_TRIES = 12

Mask = npt.NDArray[np.bool_]
Boxes = npt.NDArray[np.float64]  # (4,) or (n, 4): left, top, right, bottom as outer edges in pixels


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame, its labels, and the bounding boxes of its faces: skin and the parts on it."""

    image_bgr: UInt8Array
    labels: UInt8Array
    face_boxes_xyxy: Boxes


def compose_scene(
    heads: Sequence[Sample],
    face_heights: Sequence[float],
    size_wh: tuple[int, int],
    rng: np.random.Generator,
    backdrops: BackdropPool,
    *,
    cut_off: float = 0.0,
) -> Scene:
    """Put heads before a backdrop, their faces as tall as given in pixels, smaller ones farther back.

    `cut_off` is the share of a face that may lie beyond the edge of the frame. Heads that fit nowhere are left out.
    """
    space = backdrops.space
    image = random_backdrop(size_wh, rng, backdrops)
    labels = np.zeros(image.shape[:2], dtype=np.uint8)
    owner = np.zeros(image.shape[:2], dtype=np.uint8)  # number of the head that a pixel belongs to, from 1
    areas: list[int] = []  # of the faces of the placed heads
    faces = face_ids(space)
    for head, height in sorted(zip(heads, face_heights, strict=True), key=lambda pair: pair[1]):
        for _ in range(MAX_TRIES):
            matrix, mirror = _random_placement(head, height, size_wh, space, rng, cut_off)
            if matrix is None:
                break
            ids = warp_labels(space.flip_table[head.labels] if mirror else head.labels, matrix, size_wh)
            _drop_clothes(ids, space, rng)
            if not np.isin(ids, faces).any():
                continue
            covered = ids > 0
            if _hides_a_face(covered, owner, np.isin(labels, faces), areas):
                continue
            warped = warp_image(head.image_bgr, matrix, size_wh, border=None)
            _blend(image, _vary_light(warped, rng), covered)
            areas.append(int(np.isin(ids, faces).sum()))
            labels[covered], owner[covered] = ids[covered], len(areas)
            break
    boxes = [_bounding_box((owner == number) & np.isin(labels, faces)) for number in range(1, len(areas) + 1)]
    return Scene(image, labels, np.array([box for box in boxes if box is not None], dtype=float).reshape(-1, 4))


def face_box(labels: UInt8Array, space: LabelSpace) -> Boxes | None:
    """Return the bounding box (4,) of skin and the parts on it."""
    return _bounding_box(np.isin(labels, face_ids(space)))


def _random_placement(
    head: Sample, height: float, size_wh: tuple[int, int], space: LabelSpace, rng: np.random.Generator, cut_off: float
) -> tuple[Matrix | None, bool]:
    """Return a transform of the head into the frame, and whether it mirrors; None for a head without a face."""
    box = face_box(head.labels, space)
    if box is None:
        return None, False
    centre = np.array([box[0] + box[2] - 1, box[1] + box[3] - 1]) / 2
    scale = height / (box[3] - box[1])
    frame = np.asarray(size_wh) - 1.0
    margin = np.minimum((0.5 - cut_off) * scale * np.array([box[2] - box[0], box[3] - box[1]]), 0.45 * frame)
    target = margin + rng.random(2) * (frame - 2 * margin)
    angle = float(np.clip(rng.normal(0, 12), -40, 40))
    mirror = bool(rng.random() < 0.5)
    return similarity_matrix(centre, (float(target[0]), float(target[1])), scale, angle, mirror), mirror


def _drop_clothes(ids: UInt8Array, space: LabelSpace, rng: np.random.Generator) -> None:
    """Remove clothes, or clothes and neck, from the labels of some heads, in place."""
    below_face = space.present_ids(("cloth", "neck", "necklace"))
    chance = rng.random()
    dropped = below_face[:1] if chance < 0.15 else below_face if chance < 0.25 else []
    ids[np.isin(ids, dropped)] = 0


def _hides_a_face(covered: Mask, owner: UInt8Array, is_face: Mask, areas: list[int]) -> bool:
    """Return whether a new head would hide too much of a face that is placed already."""
    visible = np.bincount(owner[is_face & ~covered], minlength=len(areas) + 1)[1:]
    return any(now < MIN_VISIBLE * before for now, before in zip(visible, areas, strict=True))


def _vary_light(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Change brightness and tint, so that the heads of one frame do not all match."""
    gain = (rng.uniform(0.75, 1.2) * rng.uniform(0.94, 1.06, 3)).astype(np.float32)
    return np.asarray(np.clip(image * gain, 0, 255), dtype=np.uint8)


def _blend(image: UInt8Array, head: UInt8Array, covered: Mask) -> None:
    """Draw the head into the image, in place, with an edge that is one or two pixels soft."""
    alpha = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), 0.8)[..., None]
    rows = np.flatnonzero(alpha.max(axis=(1, 2)) > 0)
    columns = np.flatnonzero(alpha.max(axis=(0, 2)) > 0)
    if not rows.size:
        return
    region = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    image[region] = np.rint(image[region] * (1 - alpha[region]) + head[region] * alpha[region])


def _bounding_box(mask: Mask) -> Boxes | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=float)
