"""Temporal smoothing of class maps, and a measure of their flicker.

For each face a running average of the evidence for each class is kept on a grid of a quarter of the crop: the softmax
of the model's logits or, for a model that returns labels only, the class shares in cells of 4x4 pixels. Where the image
moves, the average follows at once and labels pass unchanged, so nothing lags behind. Where it is still, a pixel keeps
its class until the average clearly favours another.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.frames import RoI, UInt8Array

CELL = 4
SLOW = 0.25  # weight of a new frame where nothing moves
CLEARLY = 0.1  # margin by which another class must lead before a still pixel changes
STILL, MOVING = 3.0, 14.0  # difference of a cell in grey levels below which it is still, and above which it moves

BESIDE = np.ones((3, 3), dtype=np.uint8)

Float32 = npt.NDArray[np.float32]


@dataclass(eq=False)
class FaceState:
    roi: RoI
    grey: Float32  # h/4 w/4
    evidence: Float32  # h/4 w/4 c
    raw: UInt8Array  # labels before and after smoothing
    steady: UInt8Array


@dataclass
class Flicker:
    """Counts still pixels, and those of them that changed class between two frames."""

    still: int = 0
    raw: int = 0
    steady: int = 0

    def report(self) -> dict[str, float | None]:
        """Return the share of still pixels that change class per frame, in percent."""
        if not self.still:
            return {"without": None, "with": None}
        return {"without": round(100 * self.raw / self.still, 4), "with": round(100 * self.steady / self.still, 4)}


class Stabiliser:
    def __init__(self, classes: int) -> None:
        self.flicker = Flicker()
        self._classes = classes
        self._states: dict[int, FaceState] = {}

    def __call__(
        self,
        face: int,
        roi: RoI,
        square_bgr: UInt8Array,
        labels: UInt8Array,
        logits: npt.NDArray[np.float32] | None = None,
        index: int = 0,
    ) -> UInt8Array:
        """Return the smoothed labels of a face. `logits` are those of a batch, in which the face is at `index`."""
        size = len(labels)
        grey = cell_means(np.asarray(cv2.cvtColor(square_bgr, cv2.COLOR_BGR2GRAY), dtype=np.uint8))
        evidence = class_shares(labels, self._classes) if logits is None else softmax(logits[index])
        state = self._states.get(face)
        if state is None:
            self._states[face] = FaceState(roi, grey, evidence, labels, labels)
            return labels
        cells = size // CELL
        matrix = roi.square_from_frame(cells) @ np.vstack(
            [cv2.invertAffineTransform(state.roi.square_from_frame(cells)), [0, 0, 1]]
        )
        # Cells beside a moving edge may have been uncovered.
        change = np.asarray(cv2.dilate(np.abs(grey - warp(state.grey, matrix)), BESIDE), dtype=np.float32)
        rate = SLOW + (1 - SLOW) * np.clip((change - STILL) / (MOVING - STILL), 0, 1)[..., None]
        average = warp(state.evidence, matrix)
        average += rate * (evidence - average)

        fine = matrix.copy()  # the same motion in pixels instead of cells
        middle = (CELL - 1) / 2
        fine[:, 2] = CELL * matrix[:, 2] + middle - matrix[:, :2].sum(axis=1) * middle
        raw_before, steady_before = (
            np.asarray(
                cv2.warpAffine(one, fine, (size, size), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE),
                dtype=np.uint8,
            )
            for one in (state.raw, state.steady)
        )
        still = cv2.resize((change < STILL).astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST).astype(
            bool
        )
        steady = stable_labels(steady_before, labels, still, average)
        self.flicker.still += int(np.count_nonzero(still))
        self.flicker.raw += int(np.count_nonzero((raw_before != labels) & still))
        self.flicker.steady += int(np.count_nonzero((steady_before != steady) & still))
        self._states[face] = FaceState(roi, grey, average, labels, steady)
        return steady

    def forget(self, face: int) -> None:
        self._states.pop(face, None)


def stable_labels(before: UInt8Array, labels: UInt8Array, still: npt.NDArray[np.bool_], average: Float32) -> UInt8Array:
    """Return the new labels, but keep a still pixel's old one unless the average clearly favours the new."""
    ys, xs = np.nonzero((before != labels) & still)
    old, new = before[ys, xs], labels[ys, xs]
    gain = between_cells(average, ys, xs, new) - between_cells(average, ys, xs, old)
    keep = gain < CLEARLY
    steady: UInt8Array = labels.copy()
    steady[ys[keep], xs[keep]] = old[keep]
    return steady


def between_cells(
    cells: Float32, ys: npt.NDArray[np.intp], xs: npt.NDArray[np.intp], classes: UInt8Array
) -> npt.NDArray[np.float64]:
    """Interpolate the share of a class at pixels, bilinearly between the centres of cells."""
    most = len(cells) - 1
    y, x = (np.clip((at + 0.5) / CELL - 0.5, 0, most) for at in (ys, xs))
    top, left = y.astype(np.intp), x.astype(np.intp)
    bottom, right = np.minimum(top + 1, most), np.minimum(left + 1, most)
    down, along = y - top, x - left
    above = cells[top, left, classes] * (1 - along) + cells[top, right, classes] * along
    below = cells[bottom, left, classes] * (1 - along) + cells[bottom, right, classes] * along
    share: npt.NDArray[np.float64] = above * (1 - down) + below * down
    return share


def softmax(logits: npt.NDArray[np.float32]) -> Float32:
    """Turn logits (c h/4 w/4) into shares (h/4 w/4 c)."""
    powers = np.exp(logits - logits.max(axis=0))
    shares: Float32 = np.ascontiguousarray((powers / powers.sum(axis=0)).transpose(1, 2, 0))
    return shares


def class_shares(labels: UInt8Array, classes: int) -> Float32:
    """Turn labels (h w) into the share of each class in each cell (h/4 w/4 c)."""
    side = labels.shape[0] // CELL
    shares = np.zeros((side, side, classes), dtype=np.float32)
    for label in np.unique(labels):
        shares[..., label] = cell_means(np.equal(labels, label).astype(np.float32))
    return shares


def cell_means(plane: UInt8Array | Float32) -> Float32:
    size_wh = (plane.shape[1] // CELL, plane.shape[0] // CELL)
    return np.asarray(cv2.resize(plane, size_wh, interpolation=cv2.INTER_AREA), dtype=np.float32)


def warp(planes: Float32, matrix: npt.NDArray[np.float64]) -> Float32:
    """Move planes (h w) or (h w c) of the previous crop to where they lie in the current one."""
    size_wh = (planes.shape[1], planes.shape[0])
    if np.allclose(matrix, np.eye(2, 3), atol=1e-3):
        same: Float32 = planes.copy()
        return same
    if planes.ndim == 2:
        plane: Float32 = np.asarray(cv2.warpAffine(planes, matrix, size_wh, borderMode=cv2.BORDER_REPLICATE))
        return plane
    parts = [  # OpenCV warps up to four channels at a time
        cv2.warpAffine(np.ascontiguousarray(planes[..., at : at + 4]), matrix, size_wh, borderMode=cv2.BORDER_REPLICATE)
        for at in range(0, planes.shape[2], 4)
    ]
    whole: Float32 = np.concatenate([np.asarray(part).reshape(*planes.shape[:2], -1) for part in parts], axis=2)
    return whole
