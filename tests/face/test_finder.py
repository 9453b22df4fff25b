"""Finding faces with a parser, here one that knows the truth of drawn frames."""

from __future__ import annotations

import numpy as np
import pytest

from edge_segface.assets import PORTRAIT
from edge_segface.data.geometry import warp_labels
from edge_segface.data.synthetic.drawn import Person, draw_person
from edge_segface.face.finder import FaceFinder, box_in_frame, grid_rois
from edge_segface.face.parser import FaceParser
from edge_segface.frames import ClassMap, RoI
from edge_segface.image_io import read_image
from edge_segface.labels import CELEBAMASK19
from edge_segface.regions import find_faces, overlap


class Knows:
    """Answers with the true labels of a frame, seen as the finder looks at it; small parts are lost in a wide look."""

    space = CELEBAMASK19

    class spec:
        name = "knows"
        input_size = 128
        outputs = ("labels",)

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        self.rois: list[RoI] = []  # cut out since the last run
        self.looks: list[int] = []

    def crop(self, picture: np.ndarray, roi: RoI, size: int) -> np.ndarray:
        self.rois.append(roi)
        return np.zeros((size, size, 3), np.uint8)

    def parse_crops(self, squares: np.ndarray) -> np.ndarray:
        self.looks.append(len(squares))
        rois, self.rois = self.rois, []
        return np.stack([self.seen(roi) for roi in rois])

    def seen(self, roi: RoI) -> np.ndarray:
        seen = warp_labels(self.labels, roi.square_from_frame(128), (128, 128))
        if roi.side > 200:  # a wide look
            inner = np.isin(seen, [CELEBAMASK19.id_of(part) for part in ("left_eye", "right_eye", "nose", "upper_lip")])
            seen[inner] = CELEBAMASK19.id_of("skin")
        return seen


@pytest.fixture
def frame() -> tuple[np.ndarray, np.ndarray]:
    image, labels = np.full((240, 320, 3), 90, np.uint8), np.zeros((240, 320), np.uint8)
    for number, (x, y, height) in enumerate(((80, 100, 60), (230, 130, 90))):
        draw_person(Person.any(np.random.default_rng(number), chance=0.0), image, labels, (x, y), height)
    labels[10:40, 250:300] = CELEBAMASK19.id_of("skin")  # a hand, or a wall
    return image, labels


def test_a_wide_look_finds_candidates_and_a_close_one_decides(
    frame: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, labels = frame
    parser = Knows(labels)
    monkeypatch.setattr("edge_segface.face.look.crop", parser.crop)
    found = FaceFinder(parser, tiles=False)(image)  # type: ignore[arg-type]
    assert parser.looks == [1, 3]  # all candidates in one batch, the wall among them
    parser.looks.clear()
    assert len(FaceFinder(parser, min_face=30)(image)) == 2  # type: ignore[arg-type]
    assert parser.looks == [1, 6, 5]  # the whole image, its tiles, and the candidates
    true = find_faces(ClassMap(labels, CELEBAMASK19))
    assert len(found) == len(true) == 2
    for face, expected in zip(found, true, strict=True):
        assert overlap(face.box_xyxy, expected.box_xyxy) > 0.8


@pytest.mark.parametrize(("size_hw", "side"), [((480, 640), 640.0), ((720, 1280), 500.0), ((100, 3000), 400.0)])
def test_a_grid_covers_the_image_with_squares_that_overlap(size_hw: tuple[int, int], side: float) -> None:
    seen = np.zeros(size_hw, np.uint8)
    for roi in grid_rois(size_hw, side):
        assert roi.side == side
        left, top, right, bottom = roi.bounds_xyxy(size_hw)
        seen[top:bottom, left:right] += 1
    assert seen.all()
    assert side >= max(size_hw) or (seen > 1).mean() > 0.1


def test_a_box_of_a_square_is_put_back_where_it_was() -> None:
    roi = RoI((100.0, 60.0), 64.0)
    corners = roi.corners_xy()
    left, top, right, bottom = box_in_frame((0.0, 0.0, 128.0, 128.0), roi, 128)
    assert (left, top) == pytest.approx(tuple(corners[0] + 0.5))
    assert (right - left, bottom - top) == pytest.approx((64, 64))
    assert box_in_frame((32.0, 64.0, 96.0, 96.0), roi, 128) == pytest.approx((left + 16, top + 32, left + 48, top + 48))


def test_the_bundled_model_finds_the_face_of_the_built_in_picture() -> None:
    image = read_image(PORTRAIT)
    with FaceParser("edge-256") as parser:
        found = FaceFinder(parser)(image)
        assert FaceFinder(parser)(np.full((240, 320, 3), 127, np.uint8)) == []
    assert 1 <= len(found) <= 2  # a patch of the suit may pass for a second, smaller one
    assert overlap(found[0].box_xyxy, (140.0, 55.0, 225.0, 165.0)) > 0.5
