"""Rare parts borrowed from other pictures: glasses, earrings and necklaces put onto faces that have none.

A necklace is in one picture of twenty. Cut out by its labels and put where the other face's eyes and mouth say that it
belongs, it trains the network on many more necks. Hats are left alone: the hair that they hide cannot be taken away.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.data.dataset import Points, Sample
from edge_segface.data.geometry import Matrix, warp_image, warp_labels
from edge_segface.frames import UInt8Array
from edge_segface.labels import LabelSpace

# What a borrowed part may lie on.
GROUNDS = {
    "necklace": ("neck", "cloth"),
    "earring": ("hair", "neck", "cloth", "background", "left_ear", "right_ear", "skin"),
    "glasses": ("skin", "left_eye", "right_eye", "left_brow", "right_brow", "nose", "hair", "left_ear", "right_ear"),
}
BELONGING = {"glasses": ("left_eye", "right_eye")}  # seen through it, so it comes along
ANCHORS = ("left_eye", "right_eye", "nose", "lower_lip", "upper_lip")
MIN_PIXELS = 60
MAX_TURN_DEG = 30
MAX_OFF = 0.35  # of the height from eyes to lips: faces that look elsewhere


def lenders(pixels: npt.NDArray[np.int64], space: LabelSpace) -> dict[str, npt.NDArray[np.int64]]:
    """(pictures, classes), pixels of each class -> part, and which pictures have enough of it to lend."""
    found = {
        part: np.flatnonzero(pixels[:, space.id_of(part)] >= MIN_PIXELS) for part in GROUNDS if part in space.parts
    }
    return {part: indices for part, indices in found.items() if indices.size}


def lend(lender: Sample, part: str, to: Sample, space: LabelSpace, rng: np.random.Generator) -> Sample:
    """`to` with the part of `lender`; unchanged if it has that part, or if the faces look different ways."""
    wanted = space.id_of(part)
    if (to.labels == wanted).any():
        return to
    matrix = laid_over(lender.labels, to.labels, space)
    if matrix is None:
        return to
    height, width = to.labels.shape
    ids = warp_labels(lender.labels, matrix, (width, height))
    ground = np.isin(to.labels, [space.id_of(name) for name in GROUNDS[part] if name in space.parts])
    comes = (ids == wanted) & ground
    if comes.sum() < MIN_PIXELS:
        return to
    labels = to.labels.copy()
    labels[comes] = wanted
    if belonging := [space.id_of(name) for name in BELONGING.get(part, ())]:
        filled = cv2.morphologyEx(comes.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((25, 25), np.uint8)) > 0
        seen_through = filled & np.isin(ids, belonging) & ground
        labels[seen_through] = ids[seen_through]
        comes = comes | seen_through
    picture = _in_the_light_of(lender, to, warp_image(lender.image_bgr, matrix, (width, height)), rng)
    soft = cv2.GaussianBlur(cv2.dilate(comes.astype(np.float32), np.ones((3, 3), np.uint8)), (0, 0), 1.0)[..., None]
    image = np.asarray(np.rint(to.image_bgr * (1 - soft) + picture * soft), dtype=np.uint8)
    return Sample(to.name, image, labels, to.landmarks_xy)


def laid_over(source: UInt8Array, target: UInt8Array, space: LabelSpace) -> Matrix | None:
    """The similarity that takes the eyes, nose and lips of one face to those of another."""
    pairs = [
        (_middle(source == space.id_of(part)), _middle(target == space.id_of(part)))
        for part in ANCHORS
        if part in space.parts
    ]
    both = [(here, there) for here, there in pairs if here is not None and there is not None]
    if len(both) < 3:
        return None
    here, there = (np.array([pair[side] for pair in both]) @ (1, 1j) for side in (0, 1))  # points as complex numbers
    spread = here - here.mean()
    turn = np.vdot(spread, there - there.mean()) / np.vdot(spread, spread).real  # least squares: scale and angle in one
    off = np.abs(turn * spread - (there - there.mean())).max()
    if not 0.5 < abs(turn) < 2 or abs(np.angle(turn, deg=True)) > MAX_TURN_DEG or off > MAX_OFF * np.ptp(there.imag):
        return None
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    shift = there.mean() - turn * here.mean()
    return np.column_stack((linear, (shift.real, shift.imag)))


def _middle(mask: np.ndarray) -> Points | None:
    moments = cv2.moments(mask.astype(np.uint8), binaryImage=True)
    if moments["m00"] < 20:
        return None
    return np.array([moments["m10"], moments["m01"]]) / moments["m00"]


def _in_the_light_of(lender: Sample, to: Sample, picture: UInt8Array, rng: np.random.Generator) -> Points:
    """As bright as the borrower's picture, give or take."""
    gain = (float(to.image_bgr.mean()) + 20) / (float(lender.image_bgr.mean()) + 20)
    lit: Points = np.clip(picture * np.float32(np.clip(gain, 0.6, 1.6) * rng.uniform(0.85, 1.15)), 0, 255)
    return lit
