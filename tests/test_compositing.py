from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_segface.compositing import composite, filled, open_backdrop
from edge_segface.errors import EdgeSegfaceError
from edge_segface.image_io import write_image


def test_backdrops_are_colours_blurs_and_images(tmp_path: Path, portrait: np.ndarray) -> None:
    assert (open_backdrop("green")(portrait) == (64, 177, 0)).all()
    assert (open_backdrop("#0102fF")(portrait) == (255, 2, 1)).all()
    blurred = open_backdrop("blur")(portrait)
    assert blurred.shape == portrait.shape
    assert blurred.astype(int).std() < 0.9 * portrait.astype(int).std()
    write_image(np.full((50, 200, 3), (9, 8, 7), np.uint8), tmp_path / "wall.png")
    assert np.array_equal(open_backdrop(str(tmp_path / "wall.png"))(portrait), np.full_like(portrait, (9, 8, 7)))
    with pytest.raises(EdgeSegfaceError, match="magenta is not a backdrop; give #rrggbb, black"):
        open_backdrop("magenta")


def test_an_image_fills_the_frame_without_distortion() -> None:
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 100:200] = 255
    result = filled(image, (200, 200))
    assert result.shape == (200, 200, 3)
    assert (result[:, 2:-2] == 255).all()


def test_alpha_mixes() -> None:
    front, back = np.full((4, 4, 3), 200, np.uint8), np.zeros((4, 4, 3), np.uint8)
    alpha = np.tile(np.array([0, 0.25, 0.5, 1], np.float32), (4, 1))
    assert composite(front, alpha, back)[0, :, 0].tolist() == [0, 50, 100, 200]
