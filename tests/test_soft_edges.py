from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest

from edge_segface.errors import InputError
from edge_segface.frames import ClassMap
from edge_segface.labels import CELEBAMASK19
from edge_segface.soft_edges import probability, soft_alpha

SIZE = 160


def disc(radius: float, shift: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return np.asarray(np.hypot(x - shift, y) < radius)


@pytest.fixture
def photo() -> tuple[np.ndarray, np.ndarray]:
    """A disc before a wall, with an edge three pixels wide, and its true alpha."""
    alpha = cv2.GaussianBlur(disc(50).astype(np.float32), (0, 0), 1.2)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 4, (SIZE, SIZE, 3))
    front, wall = np.array([60, 90, 160]) + noise, np.array([170, 160, 140]) + noise
    image = alpha[..., None] * front + (1 - alpha[..., None]) * wall
    return np.clip(image, 0, 255).astype(np.uint8), alpha


@pytest.mark.parametrize("shift", [0.0, 3.0, -4.0])
def test_the_edge_follows_the_image_where_the_mask_is_off(photo: tuple[np.ndarray, np.ndarray], shift: float) -> None:
    image, truth = photo
    mask = disc(50, shift)
    guided = np.abs(soft_alpha(mask, image, feather=8) - truth).mean()
    hard = np.abs(mask - truth).mean()
    smooth = np.abs(soft_alpha(mask, feather=8) - truth).mean()
    assert guided < 0.8 * hard
    assert guided < smooth


def test_far_from_the_edge_nothing_changes(photo: tuple[np.ndarray, np.ndarray]) -> None:
    for image in (None, photo[0]):
        alpha = soft_alpha(disc(50), image, feather=6)
        assert (alpha[disc(36)] == 1).all()
        assert (alpha[~disc(64)] == 0).all()
        assert 0 <= alpha.min() <= alpha.max() <= 1


def test_growing_moves_the_edge_by_pixels() -> None:
    areas = [float(soft_alpha(disc(50), feather=4, grow=grow).sum()) for grow in (-6, -3, 0, 3, 6)]
    radii = np.sqrt(np.array(areas) / np.pi)
    assert np.diff(radii) == pytest.approx(3, abs=0.3)
    hard = soft_alpha(disc(50), feather=0)
    assert abs(float(soft_alpha(disc(50), feather=4).sum() - hard.sum())) < 0.01 * hard.sum()
    assert radii[2] == pytest.approx(50, abs=0.5)


def test_growing_moves_a_guided_edge_by_as_many_pixels(photo: tuple[np.ndarray, np.ndarray]) -> None:
    steps = (-20, -6, -3, -0.5, 0, 0.5, 3, 6, 20)
    alphas = [soft_alpha(disc(50), photo[0], feather=8, grow=grow) for grow in steps]
    radii = np.sqrt([alpha.sum() / np.pi for alpha in alphas])
    assert radii - radii[steps.index(0)] == pytest.approx(np.array(steps), rel=0.15, abs=0.15)
    for smaller, larger in pairwise(alphas):
        assert (smaller <= larger + 1e-6).all()


def test_a_probability_keeps_its_softness_within_the_edge() -> None:
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    chance = (1 / (1 + np.exp((np.hypot(x, y) - 50) / 2))).astype(np.float32)
    alpha = soft_alpha(chance, feather=8)
    assert np.abs(alpha - chance).max() < 0.03
    assert set(np.unique(alpha[disc(30)])) == {1}
    assert not alpha[~disc(68)].any()


def test_without_a_feather_the_mask_stays_hard(photo: tuple[np.ndarray, np.ndarray]) -> None:
    for image in (None, photo[0]):
        assert np.array_equal(soft_alpha(disc(50), image, feather=0), disc(50))
    assert soft_alpha(disc(50), feather=0, grow=5).sum() == pytest.approx(disc(55).sum(), rel=0.02)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"feather": -1}, "must be a number of pixels, 0 or more"),
        ({"feather": float("nan")}, "must be a number of pixels"),
        ({"grow": float("inf")}, "finite number of pixels"),
        ({"image_bgr": np.zeros((SIZE, 90, 3), np.uint8)}, r"same size .*found: \(160, 90, 3\) and \(160, 160\)"),
    ],
)
def test_what_cannot_be_an_edge(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        soft_alpha(disc(50), **options)
    with pytest.raises(InputError, match="boolean or float"):
        soft_alpha(disc(50).astype(np.uint8))  # type: ignore[arg-type]


def test_an_absent_part_is_transparent_and_a_full_one_opaque(portrait: np.ndarray) -> None:
    class_map = ClassMap(np.zeros(portrait.shape[:2], np.uint8), CELEBAMASK19)
    assert not class_map.alpha("hair", portrait).any()
    full = ClassMap(np.full((40, 40), CELEBAMASK19.id_of("hair"), np.uint8), CELEBAMASK19)
    assert (full.alpha("hair") == 1).all()
    assert (full.alpha("person", np.full((40, 40, 3), 90, np.uint8)) > 0.99).all()


def test_large_images_take_little_more_memory_than_their_alpha() -> None:
    import tracemalloc

    mask = np.zeros((3000, 4000), bool)
    mask[600:2400, 1000:3000] = True
    image = np.full((3000, 4000, 3), 127, np.uint8)
    tracemalloc.start()
    alpha = soft_alpha(mask, image)
    assert tracemalloc.get_traced_memory()[1] < 25 * alpha.size
    tracemalloc.stop()


def test_the_probability_of_a_group_is_the_sum_of_its_classes() -> None:
    logits = np.random.default_rng(0).normal(size=(19, 4, 4)).astype(np.float32)
    parts = [probability(logits, [index]) for index in range(19)]
    assert np.sum(parts, axis=0) == pytest.approx(1, abs=1e-5)
    lips = probability(logits, CELEBAMASK19.ids_of("lips"))
    assert lips == pytest.approx(parts[12] + parts[13], abs=1e-6)
