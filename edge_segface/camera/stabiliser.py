"""Steadies the class maps of faces over time, and measures how much they flicker.

For every face it keeps an average over time of what speaks for each class, at a quarter of the square's size: the
model's logits, or, of a model that returns labels alone, the shares of classes in cells of 4x4 pixels. Where the
picture moves the average follows at once, so that nothing trails behind; where it is still, only slowly.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.frames import RoI, UInt8Array

CELL = 4
SLOW = 0.25  # how far the average follows where nothing moves
STILL, MOVING = 3.0, 14.0  # grey levels between two pictures of a cell: below and above which it does

BESIDE = np.ones((3, 3), dtype=np.uint8)

Float32 = npt.NDArray[np.float32]


@dataclass(eq=False)
class Memory:
    roi: RoI
    grey: Float32  # h/4 w/4
    evidence: Float32  # h/4 w/4 c
    raw: UInt8Array  # labels as they came, and as they were let out
    steady: UInt8Array


@dataclass
class Flicker:
    """Of the pixels that show the same thing in two pictures, those that changed their class."""

    still: int = 0
    raw: int = 0
    steady: int = 0

    def report(self) -> dict[str, float | None]:
        """In percent of the still pixels, a frame."""
        if not self.still:
            return {"without": None, "with": None}
        return {"without": round(100 * self.raw / self.still, 4), "with": round(100 * self.steady / self.still, 4)}


class Stabiliser:
    def __init__(self, classes: int) -> None:
        self.flicker = Flicker()
        self._classes = classes
        self._memories: dict[int, Memory] = {}

    def __call__(
        self,
        face: int,
        roi: RoI,
        square_bgr: UInt8Array,
        labels: UInt8Array,
        logits: npt.NDArray[np.float32] | None = None,
        index: int = 0,
    ) -> UInt8Array:
        """The labels to let out for a face. `logits` are those of a batch, in which it is at `index`."""
        size = len(labels)
        grey = cell_means(np.asarray(cv2.cvtColor(square_bgr, cv2.COLOR_BGR2GRAY), dtype=np.uint8))
        fresh = (
            shares_of(labels, self._classes)
            if logits is None
            else np.ascontiguousarray(logits[index].transpose(1, 2, 0))
        )
        memory = self._memories.get(face)
        if memory is None:
            self._memories[face] = Memory(roi, grey, fresh, labels, labels)
            return labels
        matrix = roi.square_from_frame(size // CELL) @ np.vstack(
            [cv2.invertAffineTransform(memory.roi.square_from_frame(size // CELL)), [0, 0, 1]]
        )
        # What lies beside a moving edge may be uncovered.
        change = np.asarray(cv2.dilate(np.abs(grey - moved(memory.grey, matrix)), BESIDE), dtype=np.float32)
        rate = SLOW + (1 - SLOW) * np.clip((change - STILL) / (MOVING - STILL), 0, 1)[..., None]
        average = moved(memory.evidence, matrix)
        average += rate * (fresh - average)
        steady = chosen(average, fresh, labels)
        self._count(memory, matrix, change, labels, steady)
        self._memories[face] = Memory(roi, grey, average.astype(np.float32), labels, steady)
        return steady

    def forget(self, face: int) -> None:
        self._memories.pop(face, None)

    def _count(
        self, memory: Memory, matrix: npt.NDArray[np.float64], change: Float32, raw: UInt8Array, steady: UInt8Array
    ) -> None:
        size_wh = (raw.shape[1], raw.shape[0])
        still = cv2.resize((change < STILL).astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST).astype(bool)
        fine = matrix.copy()  # the same move, in pixels instead of cells
        fine[:, 2] = CELL * (matrix[:, 2] + matrix[:, :2].sum(axis=1) / 2 - 0.5) - matrix[:, :2].sum(axis=1) / 2 + 0.5
        flags = cv2.INTER_NEAREST
        before_raw, before_steady = (
            cv2.warpAffine(one, fine, size_wh, flags=flags) for one in (memory.raw, memory.steady)
        )
        self.flicker.still += int(still.sum())
        self.flicker.raw += int(((before_raw != raw) & still).sum())
        self.flicker.steady += int(((before_steady != steady) & still).sum())


def chosen(average: Float32, fresh: Float32, labels: UInt8Array) -> UInt8Array:
    """The labels as they came where average and fresh evidence agree, as they are finer; else what the average says."""
    cells = average.argmax(axis=2) != fresh.argmax(axis=2)
    if not cells.any():
        return labels
    left, top, width, height = cv2.boundingRect(cv2.dilate(cells.astype(np.uint8), BESIDE))
    there = np.s_[top : top + height, left : left + width]
    pixels = np.s_[CELL * top : CELL * (top + height), CELL * left : CELL * (left + width)]
    old, new = (larger(one[there]).argmax(axis=2).astype(np.uint8) for one in (average, fresh))
    result: UInt8Array = labels.copy()
    np.copyto(result[pixels], old, where=old != new)
    return result


def changed(before: UInt8Array, now: UInt8Array, matrix: npt.NDArray[np.float64], where: npt.NDArray[np.bool_]) -> int:
    """How many of these pixels are of another class than before, in the square as it lies now."""
    there = cv2.warpAffine(before, matrix, (now.shape[1], now.shape[0]), flags=cv2.INTER_NEAREST)
    return int(np.count_nonzero((there != now) & where))


def shares_of(labels: UInt8Array, classes: int) -> Float32:
    """Labels (h w) -> what share of each cell is of each class (h/4 w/4 c)."""
    side = labels.shape[0] // CELL
    shares = np.zeros((side, side, classes), dtype=np.float32)
    for label in np.unique(labels):
        shares[..., label] = cell_means(np.equal(labels, label).astype(np.float32))
    return shares


def cell_means(plane: UInt8Array | Float32) -> Float32:
    size_wh = (plane.shape[1] // CELL, plane.shape[0] // CELL)
    return np.asarray(cv2.resize(plane, size_wh, interpolation=cv2.INTER_AREA), dtype=np.float32)


def larger(cells: Float32) -> Float32:
    size_wh = (cells.shape[1] * CELL, cells.shape[0] * CELL)
    return np.asarray(
        cv2.resize(np.ascontiguousarray(cells), size_wh, interpolation=cv2.INTER_LINEAR), dtype=np.float32
    )


def moved(planes: Float32, matrix: npt.NDArray[np.float64]) -> Float32:
    """Planes (h w) or (h w c) of the square before, as they lie in the square now."""
    size_wh = (planes.shape[1], planes.shape[0])
    if np.allclose(matrix, np.eye(2, 3), atol=1e-3):
        same: Float32 = planes.copy()
        return same
    if planes.ndim == 2:
        plane: Float32 = np.asarray(cv2.warpAffine(planes, matrix, size_wh, borderMode=cv2.BORDER_REPLICATE))
        return plane
    parts = [  # OpenCV warps four channels at a time
        cv2.warpAffine(np.ascontiguousarray(planes[..., at : at + 4]), matrix, size_wh, borderMode=cv2.BORDER_REPLICATE)
        for at in range(0, planes.shape[2], 4)
    ]
    whole: Float32 = np.concatenate([np.asarray(part).reshape(*planes.shape[:2], -1) for part in parts], axis=2)
    return whole
