from __future__ import annotations

import numpy as np
import pytest

from edge_segface.errors import LabelError
from edge_segface.labels import CELEBAMASK19, LAPA11
from edge_segface.metrics import ConfusionMatrix


def test_scores_match_an_independent_count_pooled_over_pictures() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 11, (5, 40, 30), dtype=np.uint8)
    predicted = np.where(generator.random(truth.shape) < 0.7, truth, generator.integers(0, 11, truth.shape)).astype(
        "u1"
    )
    matrix = ConfusionMatrix(LAPA11)
    for index in range(3):
        matrix.update(predicted[index], truth[index])
    matrix.update(predicted[3:], truth[3:])
    for k in range(11):
        hit = ((predicted == k) & (truth == k)).sum()
        assert matrix.f1()[k] == pytest.approx(200 * hit / ((predicted == k).sum() + (truth == k).sum()))
        assert matrix.iou()[k] == pytest.approx(100 * hit / ((predicted == k) | (truth == k)).sum())
    assert matrix.mean_f1() == pytest.approx(matrix.f1()[1:].mean())
    assert matrix.miou() == pytest.approx(matrix.iou().mean())
    assert matrix.pixel_accuracy() == pytest.approx(100 * (predicted == truth).mean())


def test_absent_classes_have_no_score_and_ignored_pixels_do_not_count() -> None:
    matrix = ConfusionMatrix(CELEBAMASK19)
    matrix.update(np.array([2, 2, 14, 3], np.uint8), np.array([2, 2, 14, 255], np.uint8), ignore=255)
    scores = matrix.by_name(matrix.f1())
    assert scores["skin"] == 100
    assert scores["neck_l"] is None
    assert scores["cloth"] is None
    assert matrix.mean_f1() == 100


def test_wrong_ids_and_shapes_are_named() -> None:
    matrix = ConfusionMatrix(LAPA11)
    with pytest.raises(LabelError, match=r"the truth has ids outside lapa11 \(found: 11\)"):
        matrix.update(np.zeros(4, np.uint8), np.full(4, 11, np.uint8))
    with pytest.raises(LabelError, match="the same shape"):
        matrix.update(np.zeros(4, np.uint8), np.zeros(5, np.uint8))
