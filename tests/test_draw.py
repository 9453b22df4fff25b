from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_segface.draw import captions, draw_boxes, draw_legend, legend, overlay, side_by_side
from edge_segface.errors import ImageError, LabelError
from edge_segface.frames import ClassMap, RoI, pasted
from edge_segface.labels import CELEBAMASK19

HAIR, CLOTH, LIP = (CELEBAMASK19.id_of(part) for part in ("hair", "cloth", "upper_lip"))


def map_of(labels: np.ndarray) -> ClassMap:
    return ClassMap(labels, CELEBAMASK19)


@pytest.mark.parametrize("part", ["skin", "neck", "left_ear", "nose"])
@pytest.mark.parametrize("grey", [25, 60, 128, 220])
def test_skin_keeps_its_lightness(grey: int, part: str) -> None:
    image = np.full((60, 60, 3), grey, np.uint8)
    image[..., 2] = min(255, grey + 20)
    labels = np.full((60, 60), CELEBAMASK19.id_of(part), np.uint8)
    drawn = overlay(image, map_of(labels))
    before, after = (cv2.cvtColor(one, cv2.COLOR_BGR2GRAY).astype(float).mean() for one in (image, drawn))
    assert after == pytest.approx(before, abs=0.06 * 255 if grey > 200 else 8)


def test_only_the_chosen_classes_are_drawn(portrait: np.ndarray) -> None:
    labels = np.zeros(portrait.shape[:2], np.uint8)
    labels[20:80, 20:300], labels[100:150, 100:150] = HAIR, LIP
    drawn = overlay(portrait, map_of(labels), classes=["lips"])
    assert np.array_equal(drawn[:90], portrait[:90])
    assert not np.array_equal(drawn[100:150, 100:150], portrait[100:150, 100:150])
    with pytest.raises(LabelError, match="did you mean hair"):
        overlay(portrait, map_of(labels), classes=["hiar"])


def test_clothes_that_a_square_cuts_fade_out() -> None:
    image = np.full((200, 200, 3), 90, np.uint8)
    labels = np.zeros((200, 200), np.uint8)
    labels[60:150, 60:140] = CLOTH
    square = RoI((99.5, 99.5), 100)  # down to row 149
    plain = np.abs(overlay(image, map_of(labels)).astype(int) - 90).sum(axis=2)
    faded = np.abs(overlay(image, map_of(labels), squares=[square]).astype(int) - 90).sum(axis=2)
    column = faded[70:150, 100]
    assert plain[148, 100] > 20
    assert column[-1] <= 3
    assert (np.diff(column[-10:]) <= 1).all()  # towards the cut it only fades
    assert np.array_equal(faded[62:120, 62:138], plain[62:120, 62:138])
    image_edge = overlay(image[:150], map_of(labels[:150]), squares=[RoI((99.5, 99.5), 100)])
    assert np.array_equal(image_edge, overlay(image[:150], map_of(labels[:150])))  # the image itself ends there


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.4, 0.6, 0.8])
def test_a_square_that_ends_between_two_pixels_fades_too(shift: float) -> None:
    image, square = np.full((200, 200, 3), 90, np.uint8), RoI((99.5 + shift, 99.5 + shift), 101.3)
    labels = pasted(np.full((256, 256), CLOTH, np.uint8), square, (200, 200))
    last = int(np.flatnonzero(labels.any(axis=1))[-1])
    faded = np.abs(overlay(image, map_of(labels), squares=[square]).astype(int) - 90).sum(axis=2)
    assert faded[last - 1, 100] < 0.2 * faded[100, 100]


def test_of_two_squares_the_one_that_goes_on_counts() -> None:
    image = np.full((200, 200, 3), 90, np.uint8)
    labels = np.zeros((200, 200), np.uint8)
    labels[60:190, 60:140] = CLOTH
    inner, outer = RoI((99.5, 99.5), 100), RoI((99.5, 119.5), 140)
    both = overlay(image, map_of(labels), squares=[inner, outer])
    assert np.array_equal(both[100:160], overlay(image, map_of(labels))[100:160])


def test_nothing_is_drawn_without_opacity(portrait: np.ndarray) -> None:
    labels = np.zeros(portrait.shape[:2], np.uint8)
    labels[20:80, 20:300] = HAIR
    assert np.array_equal(overlay(portrait, map_of(labels), 0.0), portrait)


@pytest.mark.parametrize("size_hw", [(240, 320), (2160, 3840)])
def test_text_and_lines_grow_with_the_image(size_hw: tuple[int, int]) -> None:
    image = np.full((*size_hw, 3), 255, np.uint8)
    captions(image, ["engine only 90.1 FPS", "end to end 80.0 FPS"])
    dark = np.flatnonzero((image.max(axis=2) < 200).any(axis=1))
    assert 0.06 < dark.size / size_hw[0] < 0.25
    boxed = np.zeros((*size_hw, 3), np.uint8)
    draw_boxes(boxed, [(20.0, 20.0, 200.0, 200.0)])
    width = (boxed[100, :100] > 0).any(axis=1).sum()
    assert 1 <= width <= 8
    assert width >= size_hw[0] / 600


def test_a_legend_of_all_classes_fits_small_images() -> None:
    labels = np.arange(60 * 80, dtype=np.int64).reshape(60, 80) % 19
    class_map = map_of(labels.astype(np.uint8))
    panel = legend(class_map, 60)
    assert panel.shape[0] > 18 * 12
    sheet = side_by_side(np.zeros((60, 80, 3), np.uint8), class_map)
    assert sheet.shape == (panel.shape[0], 160 + panel.shape[1], 3)
    colours = {tuple(pixel) for pixel in panel.reshape(-1, 3).tolist()}
    assert all(tuple(colour[::-1]) in colours for colour in CELEBAMASK19.palette_rgb[1:].tolist())
    frame = np.full((240, 320, 3), 200, np.uint8)
    labels = np.zeros((240, 320), np.uint8)
    labels[100:, 100:] = HAIR
    draw_legend(frame, map_of(labels))
    assert (frame[:20, -60:] != 200).any()
    assert (frame[:, :150] == 200).all()


def test_sizes_must_agree() -> None:
    with pytest.raises(ImageError, match="same size"):
        overlay(np.zeros((10, 10, 3), np.uint8), map_of(np.zeros((10, 12), np.uint8)))
