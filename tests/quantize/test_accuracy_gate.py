"""Which accuracy drops are too large."""

from __future__ import annotations

import numpy as np
import pytest

from edge_segface.errors import QuantizeError
from edge_segface.evaluate import Scores
from edge_segface.labels import CELEBAMASK19
from edge_segface.metrics import ConfusionMatrix
from edge_segface.quantize.accuracy_gate import AccuracyDrop

HITS = np.full(19, 900)


def scores(hits: np.ndarray) -> Scores:
    """Of 1000 pixels of each class, `hits` are right and the others predicted as background."""
    matrix = ConfusionMatrix(CELEBAMASK19)
    matrix.counts[np.arange(19), np.arange(19)] = hits
    matrix.counts[:, 0] += 1000 - hits
    return Scores(matrix, np.zeros(19, np.int64), 50)


def accuracy_drop(after: np.ndarray, images: int, max_drop: float) -> AccuracyDrop:
    return AccuracyDrop(scores(HITS), scores(after), np.full(19, images), max_drop)


def with_hits(index: int | slice, hits: int) -> np.ndarray:
    after = np.array(HITS)
    after[index] = hits
    return after


def test_a_class_in_enough_images_may_not_drop_too_much() -> None:
    drop = accuracy_drop(with_hits(17, 850), images=40, max_drop=1.0)
    assert drop.exceeded() == [f"ear_r {drop.drops[17]:.2f}"]
    with pytest.raises(QuantizeError, match=r"F1 drops by more than 1\.0, so no file was written.*ear_r 2"):
        drop.check()


def test_a_class_in_few_images_does_not_count_alone() -> None:
    accuracy_drop(with_hits(17, 850), images=29, max_drop=1.0).check()
    assert accuracy_drop(with_hits(17, 850), images=30, max_drop=1.0).exceeded()


def test_the_mean_may_not_drop_too_much() -> None:
    [exceeded] = accuracy_drop(with_hits(slice(1, None), 850), images=20, max_drop=1.0).exceeded()
    assert exceeded.startswith("the mean 2.")


def test_no_drop_is_within_a_limit_of_zero() -> None:
    accuracy_drop(HITS, images=40, max_drop=0.0).check()


def test_a_stray_pixel_of_a_class_in_no_mask_does_not_count() -> None:
    drop = accuracy_drop(HITS, images=40, max_drop=0.5)
    drop.images_with_class[18] = 0
    for side, count in ((drop.before, 0), (drop.after, 1)):
        side.matrix.counts[18] = 0
        side.matrix.counts[:, 18] = 0
        side.matrix.counts[0, 18] = count
    assert np.isnan(drop.drops[18])
    assert drop.mean_drop == pytest.approx(0, abs=0.01)


def test_the_gate_says_which_classes_it_judged() -> None:
    few = accuracy_drop(HITS, images=12, max_drop=1.0)
    assert few.judged == "judged: the mean only; no class was, as none is in 30 images or more (at most in 12)"
    assert accuracy_drop(HITS, images=30, max_drop=1.0).judged.startswith(
        "judged: the mean and 18 of 18 classes: neck, "
    )
    some = accuracy_drop(HITS, images=40, max_drop=1.0)
    some.images_with_class[[16, 18]] = 4, 0
    assert some.judged.startswith("judged: the mean and 16 of 18 classes: neck, skin, ")
    assert some.judged.endswith("; 2 are in fewer than 30 images and were not: hat 4, neck_l 0")
