from __future__ import annotations

import cv2
import numpy as np

from edge_segface.face.look import Look
from edge_segface.face.merge import merged_labels, resampled
from edge_segface.frames import RoI


def disc(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.asarray(np.hypot(x, y) < radius, dtype=np.uint8)


def test_enlarged_edges_are_smooth() -> None:
    small, true = 7 * disc(32, 11), disc(256, 88)
    large = resampled(small, RoI((127.5, 127.5), 256), (0, 0, 256, 256))
    stairs = cv2.resize(small, (256, 256), interpolation=cv2.INTER_NEAREST)
    assert set(np.unique(large)) == {0, 7}
    wrong, wrong_stairs = ((found > 0) != true for found in (large, stairs))
    assert wrong.sum() < 0.8 * wrong_stairs.sum()


def test_three_classes_that_meet_leave_no_gap_and_invent_no_class() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(1, 4, (6, 6), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    large = resampled(small, RoI((99.5, 99.5), 200), (0, 0, 200, 200))
    assert set(np.unique(large)) == {1, 2, 3}


def test_a_part_of_the_image_is_the_same_as_the_whole_cut() -> None:
    rng = np.random.default_rng(1)
    small = rng.integers(0, 5, (8, 8), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    roi = RoI((40.3, 30.8), 150.0)
    whole = resampled(small, roi, (0, 0, 120, 90))
    assert np.array_equal(resampled(small, roi, (20, 10, 70, 60)), whole[10:60, 20:70])


def test_the_larger_square_wins_but_its_background_erases_nothing() -> None:
    small = Look(RoI((29.5, 29.5), 20), np.full((20, 20), 1, np.uint8))
    large = Look(RoI((44.5, 29.5), 40), np.repeat(np.array([0, 2], np.uint8), 20)[None].repeat(40, axis=0))
    labels = merged_labels([small, large], (60, 80))
    assert (labels[22:38, 22:38] == 1).all()
    assert (labels[12:48, 46:63] == 2).all()
