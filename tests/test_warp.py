from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge_segface.errors import InputError
from edge_segface.warp import grids, training
from edge_segface.warp.running import unwarp_labels, warp_image

LANDMARKS = np.array([[180, 240], [300, 215], [250, 290], [225, 372], [300, 352]], dtype=float)


def test_unit_values_of_the_squeeze() -> None:
    places = np.array([-0.1, 0.2, 0.5, 1.0, 2.0])
    assert np.allclose(grids.squeeze(places), [-0.1, 0.2, 0.4867, 0.8093, 0.9824], atol=5e-5)
    assert np.allclose(grids.stretch(grids.squeeze(places)), places)
    assert grids.stretch(np.array([1.0]))[0] == pytest.approx(3.240, abs=1e-3)


def test_similarity_takes_targets_to_themselves_and_undoes_a_known_move() -> None:
    targets = grids.TARGETS_512_XY / 512 * 511
    assert np.allclose(grids.similarity(targets, 512), np.eye(3), atol=1e-9)
    angle = np.radians(20)
    turn = 1.3 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = grids.similarity(targets @ turn.T + [30, -12], 512)
    assert np.allclose(matrix[:2, :2] @ turn, np.eye(2), atol=1e-9)


def test_warp_and_unwarp_places_are_inverse() -> None:
    there = grids.unwarp_places(LANDMARKS, 128 * 4)
    back = grids.warp_places(LANDMARKS, 512)
    y, x = np.mgrid[100:400:37, 120:380:41]
    landed = there[y, x]
    again = back[np.rint(landed[..., 1]).astype(int), np.rint(landed[..., 0]).astype(int)]
    assert np.abs(again - np.stack([x, y], -1)).max() < 2  # half a pixel of rounding, stretched at most fourfold


def test_torch_and_numpy_have_one_geometry() -> None:
    landmarks = torch.tensor(LANDMARKS)[None]
    for torch_grid, places in (
        (training.warp_grid(landmarks, 256), grids.warp_places(LANDMARKS, 256)),
        (training.unwarp_grid(landmarks, 256), grids.unwarp_places(LANDMARKS, 256)),
    ):
        assert np.allclose((torch_grid[0].numpy() + 1) * 128, places, atol=1e-6)


def test_opencv_samples_as_torch_does(portrait: np.ndarray) -> None:
    square = portrait[:256, :256]
    landmarks = LANDMARKS / 2
    image = torch.tensor(square.transpose(2, 0, 1)[None]).float()
    sampled = training.sampled(image, training.warp_grid(torch.tensor(landmarks)[None], 256))
    inside = training.sampled(torch.ones_like(image), training.warp_grid(torch.tensor(landmarks)[None], 256)) > 0.999
    difference = torch.tensor(warp_image(square, landmarks).transpose(2, 0, 1)[None]) - sampled
    assert difference[inside].abs().mean() < 0.5
    labels = (square[..., 0] // 64).astype(np.uint8)
    grid = training.unwarp_grid(torch.tensor(landmarks)[None], 256).float()
    nearest = torch.nn.functional.grid_sample(
        torch.tensor(labels)[None, None].float(), grid, mode="nearest", align_corners=False
    )
    assert (unwarp_labels(labels, landmarks) == nearest[0, 0].numpy()).mean() > 0.999


def test_grids_are_the_official_ones(official_fixtures: Path) -> None:
    recorded = np.load(official_fixtures / "segface_lapa_mobilenet_512_io.npz")
    landmarks = torch.tensor(recorded["landmarks5"])
    warp, unwarp = training.warp_grid(landmarks, 512), training.unwarp_grid(landmarks, 512)
    assert np.abs(warp[:, ::8, ::8].numpy() - recorded["warp_grid_stride8"]).max() < 1e-6
    assert np.abs(unwarp[:, ::8, ::8].numpy() - recorded["inverse_grid_stride8"]).max() < 1e-6


def test_landmarks_that_make_no_sense() -> None:
    with pytest.raises(InputError, match=r"shape \(4, 2\)"):
        grids.similarity(LANDMARKS[:4], 512)
    with pytest.raises(InputError, match="coincide"):
        grids.similarity(np.ones((5, 2)), 512)
