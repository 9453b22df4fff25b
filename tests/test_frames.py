from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_segface.errors import ImageError
from edge_segface.frames import OUTSIDE_BGR, ClassMap, Frame, RoI, check_image, crop, paste
from edge_segface.labels import CELEBAMASK19, LAPA11


def test_whole_square_at_its_own_size_is_untouched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    roi = RoI.whole((64, 64))
    assert np.array_equal(crop(image, roi, 64), image)
    onto = np.zeros((64, 64), np.uint8)
    paste(image[..., 0], roi, onto)
    assert np.array_equal(onto, image[..., 0])


def test_shrinking_averages() -> None:
    image = np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    means = image.reshape(32, 3, 32, 3, 3).mean(axis=(1, 3))
    assert np.abs(crop(image, RoI.whole((96, 96)), 32) - means).max() <= 0.51


def test_outside_is_the_mean_colour() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    square = crop(image, RoI.whole((40, 80)), 80)
    assert (square[:20] == OUTSIDE_BGR).all()
    assert (square[20:60] == 0).all()
    assert (crop(image, RoI((500, 500), 10), 32) == OUTSIDE_BGR).all()


@pytest.mark.parametrize("angle_deg", [0.0, 30.0, -75.0])
@pytest.mark.parametrize("side", [40.0, 100.0, 260.0])
def test_a_point_lands_where_the_matrix_says(angle_deg: float, side: float) -> None:
    image = np.zeros((200, 240, 3), np.uint8)
    cv2.circle(image, (130, 90), max(2, round(side / 20)), (255, 255, 255), -1)
    roi = RoI((121.5, 96.25), side, angle_deg)
    square = crop(image, roi, 96)[..., 0] > 180
    y, x = np.nonzero(square)
    expected = roi.square_from_frame(96) @ [130, 90, 1]
    assert np.allclose([x.mean(), y.mean()], expected, atol=0.6)


@pytest.mark.parametrize("angle_deg", [0.0, 25.0])
@pytest.mark.parametrize(("centre", "side"), [((120.0, 90.0), 100.0), ((10.0, 190.0), 130.5)])
def test_paste_is_the_inverse_of_crop(angle_deg: float, centre: tuple[float, float], side: float) -> None:
    labels = np.zeros((200, 240), np.uint8)
    cv2.circle(labels, (120, 95), 40, 7, -1)
    cv2.rectangle(labels, (0, 150), (60, 199), 3, -1)
    roi = RoI(centre, side, angle_deg)
    square = crop(np.repeat(labels[..., None], 3, axis=2), roi, 256)[..., 0]
    onto = np.full_like(labels, 9)
    paste(square, roi, onto)
    touched = onto != 9
    known = touched & np.isin(onto, (0, 3, 7))
    assert known.sum() > 0.9 * touched.sum()
    assert (onto[known] == labels[known]).mean() > 0.97
    inside = cv2.fillPoly(np.zeros_like(labels), [np.rint(roi.corners_xy()).astype(np.int32)], 1).astype(bool)
    assert (touched == inside).mean() > 0.97


def test_box_edges_become_square_edges() -> None:
    roi = RoI.from_box_xyxy((10, 20, 50, 60))
    assert np.allclose(roi.corners_xy()[[0, 2]] + 0.5, [[10, 20], [50, 60]])
    assert roi.bounds_xyxy((100, 45)) == (10, 20, 45, 60)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (np.zeros((32, 32), np.uint8), r"uint8 BGR array of shape \(h, w, 3\) \(found: uint8 \(32, 32\)\)"),
        (np.zeros((32, 32, 4), np.uint8), "3 channels in BGR order"),
        (np.zeros((32, 32, 3), np.float32), "float32"),
        (np.zeros((0, 0, 3), np.uint8), "too small"),
        (np.zeros((1, 1, 3), np.uint8), r"too small to hold a face \(found: 1x1 px\)"),
        (np.zeros((10, 20000, 3), np.uint8), r"too large \(found: 20000x10 px\); scale it down"),
        ("photo.jpg", "<class 'str'>"),
    ],
)
def test_what_is_no_picture_is_named(image: np.ndarray, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        check_image(image, "it")


def test_values_check_themselves_at_birth() -> None:
    with pytest.raises(ImageError, match="positive side"):
        RoI((1, 1), 0)
    with pytest.raises(ImageError, match="finite"):
        RoI((float("nan"), 1), 5)
    with pytest.raises(ImageError, match="right > left"):
        RoI.from_box_xyxy((5, 5, 5, 9))
    with pytest.raises(ImageError, match=r"uint8 of shape \(h, w\)"):
        ClassMap(np.zeros((2, 2), np.int64), CELEBAMASK19)
    with pytest.raises(ImageError, match="the frame"):
        Frame(np.zeros((4, 4), np.uint8), 0, 0.0)


def test_class_map_answers_by_part() -> None:
    labels = np.array([[0, 0, 14, 14], [14, 2, 8, 0]], np.uint8)
    class_map = ClassMap(labels, CELEBAMASK19)
    assert class_map.mask("hair").sum() == 3
    assert np.array_equal(class_map.mask("l_eye"), class_map.mask("left_eye"))
    with pytest.raises(ImageError, match=r"ids outside lapa11 \(found: 14\)"):
        ClassMap(labels, LAPA11)
    assert class_map.only("hair", "eyes").labels.tolist() == [[0, 0, 14, 14], [14, 0, 8, 0]]
    assert list(class_map.shares()) == ["background", "hair", "skin", "left_eye"]
    assert class_map.shares()["skin"] == 1 / 8
    assert class_map.to_space(LAPA11, drop_missing=True).labels.tolist() == [[0, 0, 10, 10], [10, 1, 5, 0]]
