"""Paste rare parts (glasses, earrings, necklaces) from one face onto another that has none.

A necklace is in one image of twenty. Cut out by its labels and aligned by the eyes and the mouth of the other face, it
trains the network on many more necks. Hats are excluded: the hair that a hat hides cannot be removed.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.data.geometry import Matrix, warp_image, warp_labels
from edge_segface.data.sample import Points, Sample
from edge_segface.frames import UInt8Array
from edge_segface.labels import LabelSpace

# Pasted part -> parts of the other face that it may cover.
MAY_COVER = {
    "necklace": ("neck", "cloth"),
    "earring": ("hair", "neck", "cloth", "background", "left_ear", "right_ear", "skin"),
    "glasses": ("skin", "left_eye", "right_eye", "left_brow", "right_brow", "nose", "hair", "left_ear", "right_ear"),
}
SEEN_THROUGH = {"glasses": ("left_eye", "right_eye")}  # pasted together with the part
ANCHORS = ("left_eye", "right_eye", "nose", "lower_lip", "upper_lip")
MIN_PIXELS = 60
MIN_ANCHOR_PIXELS = 20
MAX_TURN_DEG = 30
MAX_MISALIGNMENT = 0.35  # of the height from eyes to lips; faces in other poses align worse


def find_donors(pixels: npt.NDArray[np.int64], space: LabelSpace) -> dict[str, npt.NDArray[np.int64]]:
    """Return, for each part that can be pasted, the indices of the samples that show enough of it.

    `pixels` (samples, classes) counts the pixels of each class.
    """
    donors = {
        part: np.flatnonzero(pixels[:, space.id_of(part)] >= MIN_PIXELS) for part in MAY_COVER if part in space.parts
    }
    return {part: indices for part, indices in donors.items() if indices.size}


def paste_part(donor: Sample, part: str, target: Sample, space: LabelSpace, rng: np.random.Generator) -> Sample:
    """Return `target` with a part of `donor`; unchanged if it has that part already, or if the poses differ."""
    part_id = space.id_of(part)
    if (target.labels == part_id).any():
        return target
    matrix = align_faces(donor.labels, target.labels, space)
    if matrix is None:
        return target
    height, width = target.labels.shape
    donor_ids = warp_labels(donor.labels, matrix, (width, height))
    may_cover = np.isin(target.labels, space.present_ids(MAY_COVER[part]))
    pasted = (donor_ids == part_id) & may_cover
    if pasted.sum() < MIN_PIXELS:
        return target
    labels = target.labels.copy()
    labels[pasted] = part_id
    if seen_through := space.present_ids(SEEN_THROUGH.get(part, ())):
        filled = cv2.morphologyEx(pasted.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((25, 25), np.uint8)) > 0
        inside = filled & np.isin(donor_ids, seen_through) & may_cover
        labels[inside] = donor_ids[inside]
        pasted = pasted | inside
    warped = _match_brightness(warp_image(donor.image_bgr, matrix, (width, height)), donor, target, rng)
    alpha = cv2.GaussianBlur(cv2.dilate(pasted.astype(np.float32), np.ones((3, 3), np.uint8)), (0, 0), 1.0)[..., None]
    image = np.asarray(np.rint(target.image_bgr * (1 - alpha) + warped * alpha), dtype=np.uint8)
    return Sample(target.name, image, labels, target.landmarks_xy)


def align_faces(source: UInt8Array, target: UInt8Array, space: LabelSpace) -> Matrix | None:
    """Return the similarity that moves eyes, nose and lips of one label map onto another's; None if they do not fit."""
    parts = space.present_ids(ANCHORS)
    centres = [(_centre(source == part), _centre(target == part)) for part in parts]
    pairs = [(one, other) for one, other in centres if one is not None and other is not None]
    if len(pairs) < 3:
        return None
    points, target_points = (np.array([pair[side] for pair in pairs]) @ (1, 1j) for side in (0, 1))  # x + iy
    offsets, target_offsets = points - points.mean(), target_points - target_points.mean()
    turn = np.vdot(offsets, target_offsets) / np.vdot(offsets, offsets).real  # least squares: scale and angle in one
    error = np.abs(turn * offsets - target_offsets).max()
    height = np.ptp(target_points.imag)
    if not 0.5 < abs(turn) < 2 or abs(np.angle(turn, deg=True)) > MAX_TURN_DEG or error > MAX_MISALIGNMENT * height:
        return None
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    shift = target_points.mean() - turn * points.mean()
    return np.column_stack((linear, (shift.real, shift.imag)))


def _centre(mask: npt.NDArray[np.bool_]) -> Points | None:
    moments = cv2.moments(mask.astype(np.uint8), binaryImage=True)
    if moments["m00"] < MIN_ANCHOR_PIXELS:
        return None
    return np.array([moments["m10"], moments["m01"]]) / moments["m00"]


def _match_brightness(
    image: UInt8Array, donor: Sample, target: Sample, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Scale an image of the donor to the brightness of the target, with some variation."""
    gain = (float(target.image_bgr.mean()) + 20) / (float(donor.image_bgr.mean()) + 20)
    scaled: npt.NDArray[np.float64] = image * np.float32(np.clip(gain, 0.6, 1.6) * rng.uniform(0.85, 1.15))
    return np.clip(scaled, 0, 255)
