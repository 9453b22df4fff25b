"""Drawn faces, backdrops, composed scenes and pasted parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.data.check import class_pixels, in_memory
from edge_segface.data.geometry import similarity_matrix, warp_labels, warp_points
from edge_segface.data.sample import Dataset, Sample
from edge_segface.data.synthetic.backdrops import BackdropPool, patchwork, random_backdrop, random_crop
from edge_segface.data.synthetic.drawn import draw_sample, open_drawn
from edge_segface.data.synthetic.paste_parts import align_faces, find_donors, paste_part
from edge_segface.data.synthetic.scenes import compose_scene, face_box
from edge_segface.frames import ClassMap
from edge_segface.labels import CELEBAMASK19
from edge_segface.regions import find_faces
from tests.support.datasets import landmarks_of

SPACE = CELEBAMASK19


@pytest.fixture(scope="module")
def faces() -> Dataset:
    return in_memory(open_drawn("test", 192), max_bytes=1 << 28)


def intersection_over_union(one: np.ndarray, other: np.ndarray) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    both = np.prod(np.maximum(high - low, 0))
    return float(both / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - both))


def test_drawn_faces_are_reproducible() -> None:
    first, again = (draw_sample("a", 128, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first.image_bgr, again.image_bgr)
    assert np.array_equal(first.labels, again.labels)
    assert np.array_equal(landmarks_of(first), landmarks_of(again))


def test_left_of_a_drawn_face_is_the_subjects_left() -> None:
    sample = draw_sample("a", 128, np.random.default_rng(4))
    for part in ("eye", "brow"):
        left, right = (np.argwhere(sample.labels == SPACE.id_of(f"{side}_{part}")) for side in ("left", "right"))
        assert left[:, 1].mean() > right[:, 1].mean()


def test_scene_boxes_are_where_the_faces_are(faces: Dataset) -> None:
    heads = [faces[index] for index in (0, 1, 2)]
    scene = compose_scene(heads, [120, 160, 90], (640, 480), np.random.default_rng(2), BackdropPool(SPACE))
    assert scene.image_bgr.shape == (480, 640, 3)
    assert len(scene.face_boxes_xyxy) == 3
    heights = sorted(scene.face_boxes_xyxy[:, 3] - scene.face_boxes_xyxy[:, 1])
    assert heights == pytest.approx([90, 120, 160], rel=0.25)  # turned and covered faces are less tall
    found = find_faces(ClassMap(scene.labels, SPACE))
    for box in scene.face_boxes_xyxy:
        assert max(intersection_over_union(box, np.array(face.box_xyxy)) for face in found) > 0.7


def test_a_scene_without_heads_has_no_labels() -> None:
    scene = compose_scene([], [], (320, 240), np.random.default_rng(0), BackdropPool(SPACE))
    assert not scene.labels.any()
    assert scene.face_boxes_xyxy.shape == (0, 4)
    assert scene.image_bgr.std() > 3


def test_heads_without_a_face_are_left_out_of_scenes() -> None:
    labels = np.full((64, 64), SPACE.id_of("cloth"), np.uint8)
    head = Sample("a", np.zeros((64, 64, 3), np.uint8), labels)
    assert face_box(labels, SPACE) is None
    assert not compose_scene([head], [40], (96, 96), np.random.default_rng(0), BackdropPool(SPACE)).labels.any()


def test_patchworks_show_no_part_of_a_face(faces: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    marked = []  # faces and hair in red, everything else in grey
    for sample in (faces[index] for index in range(4)):
        harmless = np.isin(sample.labels, (0, SPACE.id_of("cloth")))[..., None]
        marked.append(replace(sample, image_bgr=np.where(harmless, 90, (0, 0, 255)).astype(np.uint8)))
    grey = np.full((96, 96, 3), 60, np.uint8)
    monkeypatch.setattr("edge_segface.data.synthetic.backdrops.draw_clouds", lambda size_wh, rng: grey.copy())
    with_patches = 0
    for seed in range(30):
        image = patchwork((96, 96), np.random.default_rng(seed), BackdropPool(SPACE, marked))
        assert image[..., 2].max() <= 90
        with_patches += (image == 90).mean() > 0.05
    assert with_patches > 10


def test_given_images_are_used_as_backdrops_half_the_time(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((90, 160, 3), (10, 20, 0), np.uint8))
    pool = BackdropPool(SPACE, paths=[tmp_path / "a.png"])
    backdrops = [random_backdrop((64, 48), np.random.default_rng(seed), pool) for seed in range(20)]
    assert 4 < sum((image == (10, 20, 0)).all() for image in backdrops) < 16


def test_random_crops_are_not_distorted() -> None:
    image = np.zeros((90, 160, 3), np.uint8)
    image[..., 0] = np.arange(160)  # increases from left to right
    image[..., 1] = 2 * np.arange(90)[:, None]  # and from top to bottom
    for seed in range(20):
        part = random_crop(image, (64, 48), np.random.default_rng(seed)).astype(float)
        across, down = np.abs(np.diff(part[24, :, 0])).mean(), np.abs(np.diff(part[:, 32, 1])).mean() / 2
        assert across == pytest.approx(down, rel=0.1)


def test_pasted_glasses_lie_on_the_eyes(faces: Dataset) -> None:
    donors, glasses = find_donors(class_pixels(faces), SPACE), SPACE.id_of("glasses")
    assert {"glasses", "necklace", "earring"} <= donors.keys()
    donor = faces[donors["glasses"][0]]
    pasted = 0
    for target in (faces[index] for index in range(12)):
        result = paste_part(donor, "glasses", target, SPACE, np.random.default_rng(0))
        if result is target:
            continue
        pasted += 1
        y, x = np.argwhere(result.labels == glasses).mean(axis=0)
        assert (x, y) == pytest.approx(landmarks_of(target)[:2].mean(axis=0), abs=12)
        difference = np.abs(result.image_bgr.astype(int) - target.image_bgr).max(axis=2)
        assert ((result.labels != target.labels) | (difference > 60)).mean() < 0.2
    assert pasted >= 2


def test_faces_that_have_a_part_do_not_get_another(faces: Dataset) -> None:
    first, second = (faces[index] for index in find_donors(class_pixels(faces), SPACE)["glasses"][:2])
    assert paste_part(first, "glasses", second, SPACE, np.random.default_rng(0)) is second


def test_faces_are_aligned_by_a_similarity(faces: Dataset) -> None:
    labels = faces[2].labels
    expected = similarity_matrix(np.array([90.0, 90.0]), (100.0, 84.0), 1.2, 14.0)
    found = align_faces(labels, warp_labels(labels, expected, (240, 240)), SPACE)
    assert found == pytest.approx(expected, abs=1.5)
    assert warp_points(np.array([[90.0, 90.0]]), found)[0] == pytest.approx((100, 84), abs=1.0)
    upside_down = similarity_matrix(np.array([95.5, 95.5]), (95.5, 95.5), 1.0, 180.0)
    assert align_faces(labels, warp_labels(labels, upside_down, (192, 192)), SPACE) is None
