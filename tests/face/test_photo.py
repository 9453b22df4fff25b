"""FaceParser on photos, with the bundled model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_segface.assets import PORTRAIT
from edge_segface.errors import ImageError, InputError, LabelError
from edge_segface.face.extend import context_looks, extend
from edge_segface.face.look import Look
from edge_segface.face.parser import FaceParser
from edge_segface.face.result import ParsedImage
from edge_segface.frames import RoI
from edge_segface.image_io import read_image, write_image
from edge_segface.labels import CELEBAMASK19, label_space
from tests.support.images import group_photo

HAIR, CLOTH = CELEBAMASK19.id_of("hair"), CELEBAMASK19.id_of("cloth")


@pytest.fixture(scope="module")
def parser() -> FaceParser:
    return FaceParser("edge-256")


@pytest.fixture
def calls(parser: FaceParser, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch sizes of all calls of the engine."""
    sizes: list[int] = []
    infer = parser.engine.infer

    def counted(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return infer(images)

    monkeypatch.setattr(parser.engine, "infer", counted)
    return sizes


def test_any_form_of_an_image_gives_the_same_result(parser: FaceParser, portrait: np.ndarray, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    write_image(portrait, tmp_path / "a.png")
    rgb = np.ascontiguousarray(portrait[..., ::-1])
    expected = parser(portrait)
    assert len(expected.faces) == 1
    for result in (
        parser(tmp_path / "a.png"),
        parser(str(tmp_path / "a.png")),
        parser(image.fromarray(rgb)),
        parser(rgb, channels="rgb"),
        *parser([portrait, tmp_path / "a.png"]),
    ):
        assert isinstance(result, ParsedImage)
        assert np.array_equal(result.labels, expected.labels)
    grey = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY)
    assert (parser(np.asarray(grey)).labels == expected.labels).mean() > 0.85


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((64, 64, 3)), "must be a uint8 BGR array"),
        (None, "must be a path, a PIL image or a NumPy array"),
        (np.zeros((64, 64, 5), np.uint8), "must have 3 channels"),
        ("missing.jpg", "cannot read missing.jpg"),
    ],
)
def test_what_is_no_image_is_named(parser: FaceParser, image: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        parser(image)


def test_a_portrait_takes_one_call_of_the_engine(parser: FaceParser, calls: list[int], portrait: np.ndarray) -> None:
    close = np.ascontiguousarray(portrait[30:222, 84:276])
    result = parser(close)
    assert calls == [1]
    assert len(result.faces) == 1
    assert np.array_equal(result.labels, parser(close, whole=True).labels)


def test_faces_are_found_largest_first_and_each_in_its_place(parser: FaceParser) -> None:
    places = [(140, 150), (420, 150), (700, 160), (150, 440), (430, 450)]
    photo = group_photo((600, 1000), places, height=180)
    photo[380:520, 640:780] = group_photo((140, 140), [(70, 70)], height=140)
    result = parser(photo)
    assert len(result.faces) == 6
    heights = [face.face.height for face in result.faces]
    assert heights == sorted(heights, reverse=True)
    for x, y in (*places, (710, 450)):
        inside = [face for face in result.faces if face.box_xyxy[0] < x < face.box_xyxy[2]]
        assert any(face.box_xyxy[1] < y < face.box_xyxy[3] for face in inside)
    assert len(parser(photo, max_faces=2).faces) == 2
    with pytest.raises(InputError, match="1 or more"):
        parser(photo, max_faces=0)


def test_a_photo_of_60_faces_has_no_silent_limit(parser: FaceParser, calls: list[int]) -> None:
    places = [(60 + 120 * column, 60 + 120 * row) for row in range(6) for column in range(10)]
    result = parser(group_photo((720, 1200), places, height=118))
    assert len(result.faces) >= 57
    assert max(calls) <= 8


def test_a_result_says_what_it_is_and_converts(parser: FaceParser, portrait: np.ndarray, tmp_path: Path) -> None:
    result = parser(portrait)
    assert repr(result).startswith("<ParsedImage 352x352, 1 face: ")
    assert repr(result.faces[0]).startswith("<ParsedFace at (")
    assert "edge-256" in repr(parser)
    assert result.plot().shape == portrait.shape
    assert not np.array_equal(result.plot(), portrait)
    result.save(tmp_path / "drawn.png")
    assert np.array_equal(read_image(tmp_path / "drawn.png"), result.plot())
    side = round(result.faces[0].roi.side)
    assert result.crop().shape == (side, side, 3)
    assert result.crop(size=64).shape == (64, 64, 3)
    with pytest.raises(InputError, match="has 1 faces"):
        result.crop(1)
    raw = result.to_space(label_space("celebamask19-raw"))
    assert np.array_equal(raw.mask("lips"), result.mask("lips"))
    assert raw.faces[0].shares() == result.faces[0].shares()
    assert raw.to_dict()["label_space"] == "celebamask19-raw"
    with pytest.raises(LabelError, match="did you mean lips"):
        result.mask("lipps")


def test_a_given_square_is_parsed_as_one_face(parser: FaceParser, portrait: np.ndarray) -> None:
    roi = RoI((180, 110), 240)
    result = parser(portrait, roi)
    assert [face.roi for face in result.faces] == [roi]
    assert not result.labels[232:].any()
    assert (result.labels == parser.batch([portrait], [roi])[0].labels).mean() > 0.99


def look(roi: RoI, size: int, **boxes: tuple[int, int, int, int]) -> Look:
    """A look with classes in boxes: left, top, right, bottom in pixels of the look."""
    labels = np.zeros((size, size), np.uint8)
    for part, (left, top, right, bottom) in boxes.items():
        labels[top:bottom, left:right] = CELEBAMASK19.id_of(part)
    return Look(roi, labels)


def test_clothes_go_on_outside_the_square_and_other_things_do_not() -> None:
    square = look(RoI((199.5, 149.5), 100), 64, skin=(20, 10, 44, 40), cloth=(8, 44, 56, 64))
    context = look(RoI((199.5, 199.5), 400), 128, cloth=(50, 60, 78, 90), hat=(5, 5, 20, 20), hair=(100, 100, 120, 120))
    labels = np.zeros((400, 400), np.uint8)
    labels[100:200, 150:250] = cv2.resize(square.labels, (100, 100), interpolation=cv2.INTER_NEAREST)
    before = labels.copy()
    extend(labels, [square], [context], CELEBAMASK19)
    assert np.array_equal(labels[100:200, 150:250], before[100:200, 150:250])
    assert (labels[202:245, 170:230] == CLOTH).mean() > 0.9  # below the square
    assert set(np.unique(labels[200:])) == {0, CLOTH}
    assert not labels[260:].any()  # only around the square
    assert not labels[:100].any()


def test_context_is_parsed_only_if_no_look_shows_it(parser: FaceParser, calls: list[int]) -> None:
    photo = np.full((400, 400, 3), 90, np.uint8)
    whole = look(RoI.whole((400, 400)), 256)
    leaving = look(RoI((199.5, 149.5), 100), 256, hair=(100, 100, 150, 256))
    inside = look(RoI((199.5, 149.5), 100), 256, hair=(100, 100, 150, 200))
    assert context_looks(photo, [inside], [whole], parser) == [None]
    assert context_looks(photo, [leaving], [whole], parser) == [whole]
    assert calls == []
    small = look(RoI((199.5, 149.5), 60), 256, hair=(100, 100, 150, 256))
    (found,) = context_looks(photo, [small], [whole], parser)
    assert calls == [1]
    assert found is not None
    assert found.roi.side == 120


def test_portrait_of_the_package_is_read_by_path(parser: FaceParser) -> None:
    assert parser(PORTRAIT).mask("face").sum() > 3000
