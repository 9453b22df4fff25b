"""How a frame's result is drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.camera.result import DrawOptions, FrameResult
from edge_segface.camera.sinks import Masks
from edge_segface.compositing import open_backdrop
from edge_segface.face.tracker import TrackedFace
from edge_segface.frames import ClassMap, Frame, RoI, UInt8Array
from edge_segface.labels import CELEBAMASK19
from edge_segface.regions import Face
from tests.conftest import run_cli
from tests.support.images import read_png

ROI = RoI((150.3, 90.6), 120.4)  # its lower edge, at row 150, cuts the clothes
HEAD, GREEN_BGR = (130, 60), (64, 177, 0)


@pytest.fixture
def image() -> UInt8Array:
    noise = np.random.default_rng(0).integers(0, 30, (200, 300, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(noise, (0, 0), 2) + np.uint8(150)
    image[40:, 100:200] -= np.uint8(110)
    return np.ascontiguousarray(image)


def result(image: UInt8Array, **options: object) -> FrameResult:
    labels = np.zeros(image.shape[:2], np.uint8)
    labels[40:80, 100:200], labels[80:151, 100:200] = CELEBAMASK19.id_of("hair"), CELEBAMASK19.id_of("cloth")
    face = TrackedFace(1, Face((120.0, 50.0, 180.0, 110.0), 1.0), ROI, np.zeros((8, 8), np.uint8))
    draw = DrawOptions(**options)  # type: ignore[arg-type]
    return FrameResult(Frame(image, 0, 0.0), ClassMap(labels, CELEBAMASK19), [face], ["text"], draw=draw)


def test_only_the_part_is_shown_and_it_fades_where_the_square_ends(image: UInt8Array) -> None:
    cut_out = result(image, alpha="person")
    alpha = cut_out.alpha
    assert alpha is not None
    assert (alpha[60:120, 115:185] == 1).all()
    column = alpha[130:160, 150]
    assert (np.diff(column) <= 1e-6).all()
    assert np.abs(np.diff(column)).max() < 0.15  # no line
    assert not alpha[152:].any()
    assert (cut_out.drawn[:20] == GREEN_BGR).all()
    assert (cut_out.drawn[160:] == GREEN_BGR).all()
    assert np.array_equal(cut_out.drawn[60:120, 115:185], image[60:120, 115:185])  # no text, box or class over it


def test_a_part_between_others_has_its_own_edges(image: UInt8Array) -> None:
    alpha = result(image, alpha="hair").alpha
    assert alpha is not None
    assert (alpha[50:70, 115:185] == 1).all()
    assert not alpha[95:].any()


def test_a_backdrop_stays_as_it_is_for_the_next_frame(image: UInt8Array) -> None:
    green = open_backdrop("green")
    shown = result(image, alpha="person", backdrop=green).drawn
    shown[:] = 7
    assert (green(image) == GREEN_BGR).all()


def test_each_drawing_can_be_switched_off(image: UInt8Array) -> None:
    bare = result(image, hud=False, boxes=False, classes=("nose",)).drawn
    assert np.array_equal(bare, image)
    for option in ("hud", "boxes"):
        options = {"hud": False, "boxes": False, "classes": ("nose",), option: True}
        assert not np.array_equal(result(image, **options).drawn, image)
    hair = result(image, hud=False, boxes=False, classes=("hair",))
    assert np.array_equal(hair.drawn[90:], image[90:])


def test_the_legend_lists_what_is_drawn(image: UInt8Array) -> None:
    def rows(**options: object) -> int:
        drawn = result(image, hud=False, boxes=False, opacity=0.0, legend=True, **options).drawn
        return int((drawn != image).any(axis=(1, 2)).sum())

    assert rows(classes=("hair",)) < rows()
    assert rows(classes=("nose",)) == 0


def test_masks_of_a_cut_out_are_its_alpha(image: UInt8Array, tmp_path: Path) -> None:
    cut_out = result(image, alpha="person")
    Masks(tmp_path).show(cut_out)
    assert cut_out.alpha is not None
    saved = read_png(tmp_path / "000000.png")
    assert np.abs(saved / 255 - cut_out.alpha).max() <= 0.51 / 255


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--backdrop", "blur"], "no effect without --alpha"),
        (["--classes", "hair", "--alpha", "person"], "no effect with --alpha"),
        (["--classes", " ,"], "name at least one part"),
    ],
)
def test_options_without_effect_are_usage_errors(arguments: list[str], text: str) -> None:
    failed = run_cli("webcam", "--headless", "--source", "demo", "--frames", "2", *arguments)
    assert failed.returncode == 2
    assert text in " ".join(failed.stderr.replace("│", " ").split())
