"""Whole frames made of heads: cut out by their labels, scaled, turned and put before a backdrop, with exact labels.

A camera loop without a face detector must find faces in such frames with the parser itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.data.dataset import Sample
from edge_segface.data.geometry import Matrix, similarity_matrix, warp_image, warp_labels
from edge_segface.data.synthetic.backdrops import BackdropPool, backdrop
from edge_segface.frames import UInt8Array
from edge_segface.labels import LabelSpace
from edge_segface.regions import face_ids

MIN_VISIBLE = 0.6
TRIES = 12

Box = npt.NDArray[np.float64]  # left, top, right, bottom: outer edges in pixels


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame, its labels, and the boxes of the faces in it (skin and what lies on it), left top right bottom."""

    image_bgr: UInt8Array
    labels: UInt8Array
    face_boxes_xyxy: Box


def compose(
    heads: Sequence[Sample],
    face_heights: Sequence[float],
    size_wh: tuple[int, int],
    rng: np.random.Generator,
    behind: BackdropPool,
    *,
    cut_off: float = 0.0,
) -> Scene:
    """Puts heads before a backdrop, each with its face so many pixels tall, the smaller ones farther back.

    `cut_off` is the share of a face that may lie beyond the frame's edge.
    """
    space = behind.space
    image = backdrop(size_wh, rng, behind)
    labels = np.zeros(image.shape[:2], dtype=np.uint8)
    owner = np.zeros(image.shape[:2], dtype=np.uint8)  # which head a pixel shows, from 1
    placed_heads = 0
    face_areas: list[int] = []
    faces = face_ids(space)
    for head, height in sorted(zip(heads, face_heights, strict=True), key=lambda pair: pair[1]):
        for _ in range(TRIES):
            matrix, mirror = _somewhere(head, height, size_wh, space, rng, cut_off)
            if matrix is None:
                break
            ids = warp_labels(space.flip_table[head.labels] if mirror else head.labels, matrix, size_wh)
            if not _keep_some(ids, space, rng):
                continue
            covers = ids > 0
            if _hides_too_much(covers, owner, labels, faces, face_areas):
                continue
            placed_heads += 1
            picture = warp_image(head.image_bgr, matrix, size_wh, outside=None)
            _blend(image, _toned(picture, rng), covers)
            labels[covers], owner[covers] = ids[covers], placed_heads
            face_areas.append(int(np.isin(ids, faces).sum()))
            break
    boxes = [_box((owner == number) & np.isin(labels, faces)) for number in range(1, placed_heads + 1)]
    return Scene(image, labels, np.array([box for box in boxes if box is not None], dtype=float).reshape(-1, 4))


def face_box(labels: UInt8Array, space: LabelSpace) -> Box | None:
    """Around skin and what lies on it."""
    return _box(np.isin(labels, face_ids(space)))


def _somewhere(
    head: Sample, height: float, size_wh: tuple[int, int], space: LabelSpace, rng: np.random.Generator, cut_off: float
) -> tuple[Matrix | None, bool]:
    """A place for a head, turned a little and maybe mirrored."""
    box = face_box(head.labels, space)
    if box is None:
        return None, False
    centre = np.array([box[0] + box[2] - 1, box[1] + box[3] - 1]) / 2
    scale = height / (box[3] - box[1])
    frame = np.asarray(size_wh) - 1.0
    margin = np.minimum((0.5 - cut_off) * scale * np.array([box[2] - box[0], box[3] - box[1]]), 0.45 * frame)
    at = margin + rng.random(2) * (frame - 2 * margin)
    angle = float(np.clip(rng.normal(0, 12), -40, 40))
    mirror = bool(rng.random() < 0.5)
    return similarity_matrix(centre, (float(at[0]), float(at[1])), scale, angle, mirror), mirror


def _keep_some(ids: UInt8Array, space: LabelSpace, rng: np.random.Generator) -> bool:
    """Leaves clothes, or clothes and neck, out of some heads. False if no face is left."""
    loose = [part for part in ("cloth", "neck", "necklace") if part in space.parts]
    chance = rng.random()
    drop = loose[:1] if chance < 0.15 else loose if chance < 0.25 else []
    if drop:
        ids[np.isin(ids, [space.id_of(part) for part in drop])] = 0
    return bool(np.isin(ids, face_ids(space)).any())


def _hides_too_much(
    covers: npt.NDArray[np.bool_], owner: UInt8Array, labels: UInt8Array, faces: npt.NDArray[np.uint8], areas: list[int]
) -> bool:
    left = np.bincount(owner[np.isin(labels, faces) & ~covers], minlength=len(areas) + 1)[1:]
    return any(now < MIN_VISIBLE * before for now, before in zip(left, areas, strict=True))


def _toned(picture: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Each head in a light of its own, so that heads of one frame do not all match."""
    gain = (rng.uniform(0.75, 1.2) * rng.uniform(0.94, 1.06, 3)).astype(np.float32)
    return np.asarray(np.clip(picture * gain, 0, 255), dtype=np.uint8)


def _blend(image: UInt8Array, picture: UInt8Array, covers: npt.NDArray[np.bool_]) -> None:
    """With an edge a pixel or two soft, as a lens draws it."""
    alpha = cv2.GaussianBlur(covers.astype(np.float32), (0, 0), 0.8)[..., None]
    rows = np.flatnonzero(alpha.max(axis=(1, 2)) > 0)
    columns = np.flatnonzero(alpha.max(axis=(0, 2)) > 0)
    if not rows.size:
        return
    there = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    image[there] = np.rint(image[there] * (1 - alpha[there]) + picture[there] * alpha[there])


def _box(mask: npt.NDArray[np.bool_]) -> Box | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=float)
