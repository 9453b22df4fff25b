"""Pictures and labels stay aligned, whatever is done to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from edge_segface.data.augment.augment import Camera, CameraAugmentation, lapa_affine, letterboxed, squashed
from edge_segface.data.augment.colour import as_a_camera_sees_it
from edge_segface.data.dataset import Dataset, Sample, class_pixels

from edge_segface.data.geometry import similarity_matrix, warp_image, warp_labels, warp_points
from edge_segface.data.synthetic.backdrops import BackdropPool, backdrop, cut_from, quilt
from edge_segface.data.synthetic.drawn import open_drawn
from edge_segface.data.synthetic.paste_parts import laid_over, lend, lenders
from edge_segface.data.synthetic.scenes import compose, face_box
from edge_segface.errors import ImageError
from edge_segface.frames import ClassMap, RoI, crop
from edge_segface.labels import CELEBAMASK19
from edge_segface.regions import find_faces

SPACE = CELEBAMASK19
PALETTE = np.random.default_rng(0).integers(60, 200, (19, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def faces() -> Dataset:
    return open_drawn("test", 192)


def painted(dataset: Dataset) -> Dataset:
    """Every picture shows its own labels as colours: wherever these go, the labels must be."""

    def read(name: str) -> Sample:
        sample = dataset.read(name)
        return replace(sample, image_bgr=PALETTE[sample.labels])

    return replace(dataset, read=read)


def agreement(image: np.ndarray, labels: np.ndarray) -> float:
    """Of labels with what the colours say, away from edges, where colours mix."""
    near = np.abs(image[:, :, None].astype(int) - PALETTE).sum(axis=3).argmin(axis=2)
    flat = np.ones(labels.shape, dtype=bool)
    for axis in (0, 1):
        for step in (1, -1, 2, -2):
            flat &= np.roll(labels, step, axis) == labels
    shown = flat & (labels > 0)
    return float((near == labels)[shown].mean()) if shown.any() else 1.0


@pytest.mark.parametrize(("scenes", "plain"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_camera_augmentation_keeps_labels_on_what_they_name(
    faces: Dataset, scenes: float, plain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_segface.data.augment.augment.as_a_camera_sees_it", lambda image, rng: image)
    monkeypatch.setattr("edge_segface.data.synthetic.scenes._toned", lambda picture, rng: picture)
    camera = Camera(scenes=scenes, plain=plain, borrow=0.0)
    augment = CameraAugmentation(painted(faces), 128, camera, class_pixels(faces))
    scores, mirrored = [], 0
    for index in range(24):
        image, labels, _ = augment(index, np.random.default_rng(index))
        assert image.shape == (128, 128, 3)
        assert labels.shape == (128, 128)
        # A mirrored face shows the colours of the sides it had, under labels that are swapped.
        swapped = agreement(image, SPACE.flip_table[labels])
        scores.append(max(agreement(image, labels), swapped))
        mirrored += swapped > agreement(image, labels)
    assert min(scores) > (0.97 if not scenes else 0.8)  # of several heads in a scene some may be mirrored, others not
    if not scenes:
        assert 5 < mirrored < 19


def test_augmentation_depends_on_its_generator_alone(faces: Dataset) -> None:
    augment = CameraAugmentation(faces, 96, Camera(), class_pixels(faces))
    first, again, other = (augment(3, np.random.default_rng([1, 2, seed])) for seed in (3, 3, 4))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_plain_pictures_are_what_parse_shows_to_the_network(faces: Dataset) -> None:
    augment = CameraAugmentation(faces, 128, Camera(scenes=0.0, plain=1.0), class_pixels(faces))
    expected = crop(faces[3].image_bgr, RoI.whole(faces[3].labels.shape), 128)
    seen = [augment(3, np.random.default_rng(seed))[0] for seed in range(8)]
    mirrored = [not np.array_equal(image, expected) for image in seen]
    assert 0 < sum(mirrored) < 8
    for image, other_way in zip(seen, mirrored, strict=True):
        assert np.abs((image[:, ::-1] if other_way else image).astype(int) - expected).max() <= 1


def test_mirroring_swaps_true_pairs_only(faces: Dataset) -> None:
    labels = faces[0].labels
    matrix = similarity_matrix(np.array([95.5, 95.5]), (95.5, 95.5), 1.0, 0.0, mirror=True)
    moved = warp_labels(SPACE.flip_table[labels], matrix, (192, 192))
    assert np.array_equal(moved, SPACE.flip_table[labels[:, ::-1]])
    for part in ("left_eye", "left_brow", "left_ear"):
        assert SPACE.flip_table[SPACE.id_of(part)] == SPACE.id_of(part.replace("left", "right"))
    for part in ("lower_lip", "earring", "nose"):
        assert SPACE.flip_table[SPACE.id_of(part)] == SPACE.id_of(part)


def test_points_move_with_the_picture(faces: Dataset) -> None:
    sample = faces[1]
    dots = np.zeros((192, 192), np.uint8)
    for number, (x, y) in enumerate(np.rint(sample.landmarks_xy).astype(int), 1):
        dots[y - 2 : y + 3, x - 2 : x + 3] = number
    image, labels, landmarks = lapa_affine(replace(sample, labels=dots), 256, np.random.default_rng(9))
    assert image.shape == (256, 256, 3)
    for number, point in enumerate(landmarks, 1):
        where = np.argwhere(labels == number)
        if len(where):
            assert where.mean(axis=0)[::-1] == pytest.approx(point, abs=2.0)
    assert len(np.unique(labels)) > 2


def test_lapas_affine_has_the_spread_of_the_paper(faces: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float, np.ndarray]] = []

    def spy(centre: np.ndarray, at: tuple[float, float], scale: float, angle: float) -> np.ndarray:
        seen.append((scale, angle, np.array(at) - centre))
        return similarity_matrix(centre, at, scale, angle)

    monkeypatch.setattr("edge_segface.data.augment.augment.placed", spy)
    sample = faces[0]
    for seed in range(300):
        lapa_affine(sample, 64, np.random.default_rng(seed))
    scales, angles = np.array([s for s, _, _ in seen]), np.array([a for _, a, _ in seen])
    shifts = np.stack([shift for _, _, shift in seen])
    assert 0.5 <= scales.min() < 0.6
    assert 2.9 < scales.max() <= 3.0
    assert 27 < np.abs(angles).max() <= 30
    assert 18 < np.abs(shifts).max() <= 20


def test_squashing_ignores_the_shape_and_moves_landmarks_along() -> None:
    sample = Sample("a", np.zeros((50, 100, 3), np.uint8), np.zeros((50, 100), np.uint8), np.array([[50.0, 25.0]] * 5))
    image, labels, landmarks = squashed(sample, 64)
    assert image.shape[:2] == labels.shape == (64, 64)
    assert landmarks[0] == pytest.approx((32, 32))


def test_shrinking_a_picture_averages_instead_of_skipping() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = warp_image(stripes, similarity_matrix(np.array([127.5, 127.5]), (15.5, 15.5), 1 / 8, 0.0), (32, 32))
    assert 110 < small.mean() < 145
    assert small[4:-4, 4:-4].std() < 12


def test_pictures_beside_a_frame_are_put_whole_into_the_square() -> None:
    sample = Sample(
        "a", np.full((50, 100, 3), 200, np.uint8), np.full((50, 100), 3, np.uint8), np.array([[50.0, 25.0]] * 5)
    )
    image, labels, landmarks = letterboxed(sample, 64)
    assert (labels[:14] == 0).all()
    assert (labels[18:46] == 3).all()
    assert (image[18:46] == 200).all()
    assert landmarks[0] == pytest.approx((32, 32), abs=0.5)


def test_scenes_say_where_their_faces_are(faces: Dataset) -> None:
    heads = [faces[index] for index in (0, 1, 2)]
    scene = compose(heads, [120, 160, 90], (640, 480), np.random.default_rng(2), BackdropPool(SPACE))
    assert scene.image_bgr.shape == (480, 640, 3)
    assert len(scene.face_boxes_xyxy) == 3
    tall = sorted(scene.face_boxes_xyxy[:, 3] - scene.face_boxes_xyxy[:, 1])
    assert tall == pytest.approx([90, 120, 160], rel=0.25)  # turned faces stand less tall, occluded ones too
    found = find_faces(ClassMap(scene.labels, SPACE))
    for box in scene.face_boxes_xyxy:
        assert max(overlap(box, np.array(face.box_xyxy)) for face in found) > 0.7


def test_a_scene_without_heads_has_no_labels() -> None:
    scene = compose([], [], (320, 240), np.random.default_rng(0), BackdropPool(SPACE))
    assert not scene.labels.any()
    assert scene.face_boxes_xyxy.shape == (0, 4)
    assert scene.image_bgr.std() > 3


def test_quilts_show_no_part_of_a_face(faces: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skin, hair and parts are made red here, all else grey, and the clouds between the patches too."""
    marked = []
    for sample in (faces[index] for index in range(4)):
        harmless = np.isin(sample.labels, (0, SPACE.id_of("cloth")))[..., None]
        marked.append(replace(sample, image_bgr=np.where(harmless, 90, (0, 0, 255)).astype(np.uint8)))
    grey = np.full((96, 96, 3), 60, np.uint8)
    monkeypatch.setattr("edge_segface.data.synthetic.backdrops.clouds", lambda size_wh, rng: grey.copy())
    shown = 0
    for seed in range(30):
        picture = quilt((96, 96), np.random.default_rng(seed), BackdropPool(SPACE, marked))
        assert picture[..., 2].max() <= 90
        shown += (picture == 90).mean() > 0.05
    assert shown > 10


def test_given_pictures_are_used_as_backdrops_undistorted(tmp_path: Path) -> None:
    picture = np.zeros((90, 160, 3), np.uint8)
    picture[..., 0] = np.arange(160)  # left to right
    picture[..., 1] = 2 * np.arange(90)[:, None]  # top to bottom
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    used = 0
    for seed in range(20):
        shown = backdrop((64, 48), np.random.default_rng(seed), BackdropPool(SPACE, (), [tmp_path / "a.png"]))
        used += bool((shown[..., 2] == 0).all())
        part = cut_from(picture, (64, 48), np.random.default_rng(seed)).astype(float)
        across, down = np.abs(np.diff(part[24, :, 0])).mean(), np.abs(np.diff(part[:, 32, 1])).mean() / 2
        assert across == pytest.approx(down, rel=0.1)
    assert 4 < used < 16
    with pytest.raises(ImageError, match="no picture in"):
        CameraAugmentation(
            open_drawn("test", 128), 128, Camera(borrow=0, backdrops=str(tmp_path / "none*")), np.zeros((1, 19))
        )


def test_a_borrowed_part_lies_where_the_faces_eyes_and_mouth_say(faces: Dataset) -> None:
    available = lenders(class_pixels(faces), SPACE)
    assert {"glasses", "necklace", "earring"} <= available.keys()
    lent = 0
    for index in range(12):
        to = faces[index]
        lender = faces[available["glasses"][0]]
        out = lend(lender, "glasses", to, SPACE, np.random.default_rng(0))
        glasses = SPACE.id_of("glasses")
        if out is to:
            continue
        lent += 1
        changed = (out.labels != to.labels) | (np.abs(out.image_bgr.astype(int) - to.image_bgr).max(axis=2) > 60)
        y, x = np.argwhere(out.labels == glasses).mean(axis=0)
        assert (x, y) == pytest.approx(to.landmarks_xy[:2].mean(axis=0), abs=12)
        assert changed.mean() < 0.2
    assert lent >= 2
    with_glasses = faces[available["glasses"][1]]
    assert (
        lend(faces[available["glasses"][0]], "glasses", with_glasses, SPACE, np.random.default_rng(0)) is with_glasses
    )


def test_faces_are_laid_over_each_other_by_a_similarity(faces: Dataset) -> None:
    labels = faces[2].labels
    true = similarity_matrix(np.array([90.0, 90.0]), (100.0, 84.0), 1.2, 14.0)
    found = laid_over(labels, warp_labels(labels, true, (240, 240)), SPACE)
    assert found == pytest.approx(true, abs=1.5)
    assert warp_points(np.array([[90.0, 90.0]]), found)[0] == pytest.approx((100, 84), abs=1.0)
    upside_down = similarity_matrix(np.array([95.5, 95.5]), (95.5, 95.5), 1.0, 180.0)
    assert laid_over(labels, warp_labels(labels, upside_down, (192, 192)), SPACE) is None


def test_cameras_change_colours_but_not_shape() -> None:
    image = np.full((40, 50, 3), 120, np.uint8)
    seen = [as_a_camera_sees_it(image, np.random.default_rng(seed)) for seed in range(60)]
    assert all(picture.shape == image.shape and picture.dtype == np.uint8 for picture in seen)
    means = np.array([picture.mean() for picture in seen])
    assert means.min() < 60
    assert means.max() > 150
    assert face_box(np.zeros((4, 4), np.uint8), SPACE) is None


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    both = np.prod(np.maximum(high - low, 0))
    return float(both / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - both))
