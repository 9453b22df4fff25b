from __future__ import annotations

import numpy as np
import pytest

from edge_segface.data.synthetic.drawn import Person, draw_person
from edge_segface.data.synthetic.scenes import face_box
from edge_segface.frames import ClassMap
from edge_segface.labels import CELEBAMASK19, LAPA11, remap_table
from edge_segface.regions import ROI_GROWTH, find_faces


def frame_with(*places: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Faces at x, y with a height."""
    image, labels = np.zeros((240, 320, 3), np.uint8), np.zeros((240, 320), np.uint8)
    for number, (x, y, height) in enumerate(places):
        draw_person(Person.any(np.random.default_rng(number), chance=0.0), image, labels, (x, y), height)
    return image, labels


def test_each_face_is_found_largest_first() -> None:
    _, labels = frame_with((70, 90, 50), (220, 120, 110))
    found = find_faces(ClassMap(labels, CELEBAMASK19))
    assert len(found) == 2
    assert found[0].box_xyxy[3] - found[0].box_xyxy[1] == pytest.approx(110, abs=14)  # hair covers the forehead
    alone = np.where(np.arange(320) > 140, labels, 0).astype(np.uint8)
    assert found[0].box_xyxy == pytest.approx(face_box(alone, CELEBAMASK19), abs=2)
    roi = found[0].roi
    left, top, right, bottom = found[0].box_xyxy
    assert roi.side == pytest.approx(ROI_GROWTH * max(right - left, bottom - top))


def test_skin_without_eyes_nose_or_mouth_is_no_face() -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[20:80, 20:80] = CELEBAMASK19.id_of("skin")
    assert find_faces(ClassMap(labels, CELEBAMASK19)) == []
    labels[40:44, 30:40] = CELEBAMASK19.id_of("left_eye")
    assert find_faces(ClassMap(labels, CELEBAMASK19)) == []  # one kind alone may be an error
    labels[60:66, 40:60] = CELEBAMASK19.id_of("upper_lip")
    assert len(find_faces(ClassMap(labels, CELEBAMASK19))) == 1


def test_faces_that_touch_are_split_by_their_noses() -> None:
    labels = np.zeros((120, 160), np.uint8)
    for left in (20, 80):
        labels[20:100, left : left + 60] = CELEBAMASK19.id_of("skin")
        labels[50:66, left + 24 : left + 36] = CELEBAMASK19.id_of("nose")
        labels[44:48, left + 10 : left + 20] = CELEBAMASK19.id_of("left_eye")
        labels[76:82, left + 18 : left + 42] = CELEBAMASK19.id_of("upper_lip")
    found = find_faces(ClassMap(labels, CELEBAMASK19))
    assert sorted(face.box_xyxy for face in found) == [(20, 20, 80, 100), (80, 20, 140, 100)]
    labels[50:66, 104:116] = CELEBAMASK19.id_of("skin")  # one nose: a face and a hand, say
    assert len(find_faces(ClassMap(labels, CELEBAMASK19))) == 1
    labels[70:74, 44:56] = CELEBAMASK19.id_of("nose")  # a nose that glasses cut in two
    assert len(find_faces(ClassMap(labels, CELEBAMASK19))) == 1


def test_specks_and_empty_maps_have_no_faces() -> None:
    labels = np.zeros((60, 60), np.uint8)
    assert find_faces(ClassMap(labels, CELEBAMASK19)) == []
    labels[10:16, 10:16] = CELEBAMASK19.id_of("skin")
    labels[12, 11:15] = CELEBAMASK19.id_of("nose")
    labels[11, 11:15] = CELEBAMASK19.id_of("left_eye")
    assert find_faces(ClassMap(labels, CELEBAMASK19)) == []


def test_faces_are_found_in_every_label_space() -> None:
    _, labels = frame_with((160, 110, 120))
    lapa = remap_table(CELEBAMASK19, LAPA11, drop_missing=True)[labels]
    assert len(find_faces(ClassMap(lapa, LAPA11))) == 1
