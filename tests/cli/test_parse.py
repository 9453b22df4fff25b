"""`edge-segface parse`, in a process of its own."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.assets import PORTRAIT
from edge_segface.face.parser import FaceParser
from edge_segface.image_io import read_image, write_image
from edge_segface.labels import CELEBAMASK19, CELEBAMASK19_RAW, remap_table
from tests.conftest import assert_one_line_error, run_cli
from tests.support.images import group_photo, read_png


def test_parse_writes_ids_and_overlays_and_goes_on_after_a_bad_file(tmp_path: Path, drawn_face: np.ndarray) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    write_image(read_image(PORTRAIT), photos / "a.jpg")
    write_image(drawn_face, photos / "b.png")
    (photos / "bad.jpg").write_bytes(b"")
    result = run_cli("parse", photos, "--out", out)
    assert result.returncode == 1
    assert "2 of 3 parsed into" in result.stdout
    assert "error: " in result.stderr
    assert "bad.jpg is empty" in result.stderr
    assert "1 failed: " in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(item.name for item in out.iterdir()) == [
        *("a.json", "a.overlay.jpg", "a.png"),
        *("b.json", "b.overlay.jpg", "b.png"),
    ]
    ids = read_png(out / "a.png")
    with FaceParser() as parser:
        assert np.array_equal(ids, parser(read_image(photos / "a.jpg")).labels)


def test_the_limit_of_pixels_is_an_option(tmp_path: Path) -> None:
    result = run_cli("parse", PORTRAIT, "--out", tmp_path, "--max-megapixels", "0.1")
    assert result.returncode == 1
    assert "raise the limit of 0.1 megapixels" in result.stderr
    assert run_cli("parse", PORTRAIT, "--out", tmp_path, "--max-megapixels", "0.2").returncode == 0


def test_parse_into_another_label_space(tmp_path: Path) -> None:
    assert run_cli("parse", PORTRAIT, "--out", tmp_path / "own", "--no-overlay").returncode == 0
    result = run_cli("parse", PORTRAIT, "--out", tmp_path / "raw", "--labels", "celebamask19-raw")
    assert result.returncode == 0, result.stderr
    own, raw = (read_png(tmp_path / name / "portrait.png") for name in ("own", "raw"))
    assert np.array_equal(remap_table(CELEBAMASK19, CELEBAMASK19_RAW)[own], raw)
    assert {item.name for item in (tmp_path / "own").iterdir()} == {"portrait.png", "portrait.json"}
    lapa = run_cli("parse", PORTRAIT, "--out", tmp_path / "lapa", "--labels", "lapa11")
    assert lapa.returncode == 0
    assert "neck becomes background" in lapa.stderr
    assert "left_ear becomes skin" in lapa.stderr


def test_parse_never_overwrites_an_image(tmp_path: Path, drawn_face: np.ndarray) -> None:
    for name in ("x.png", "x.jpg", "deep/x.png"):
        write_image(drawn_face, tmp_path / name)
    before = (tmp_path / "x.png").read_bytes()
    result = run_cli("parse", tmp_path / "x.png", "--out", tmp_path)
    assert_one_line_error(result, "would overwrite", "x.png", "another folder")
    assert (tmp_path / "x.png").read_bytes() == before
    assert run_cli("parse", f"{tmp_path}/**/x.*", "--out", tmp_path / "out", "--no-overlay").returncode == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    (tmp_path / "x.overlay.jpg").write_bytes((tmp_path / "x.jpg").read_bytes())
    result = run_cli("parse", tmp_path / "x.jpg", tmp_path / "x.overlay.jpg", "--out", tmp_path)
    assert_one_line_error(result, "would overwrite", "x.overlay.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert_one_line_error(run_cli("parse", PORTRAIT, "--out", tmp_path / "out"), "cannot write")


def test_every_face_of_a_photo_is_in_its_record(tmp_path: Path) -> None:
    photo = group_photo((900, 1200), [(150, 200), (600, 200), (1050, 220), (300, 650), (800, 640)], height=180)
    write_image(photo, tmp_path / "group.jpg")
    result = run_cli("parse", tmp_path / "group.jpg", "--out", tmp_path / "out", "--crops", "--polygons", "--sheet")
    assert result.returncode == 0, result.stderr
    assert "group.jpg: 5 faces" in result.stdout
    record = json.loads((tmp_path / "out" / "group.json").read_text())
    assert (record["width"], record["height"], record["label_space"]) == (1200, 900, "celebamask19")
    assert record["model"] == "lite-384"
    assert len(record["faces"]) == 5
    for face in record["faces"]:
        _, top, _, bottom = face["box_xyxy"]
        assert 80 < bottom - top < 180
        assert face["shares"]["skin"] > 0.05
        assert face["score"] > 0.6
    ids = read_png(tmp_path / "out" / "group.png")
    assert ids.shape == (900, 1200)
    assert (ids == CELEBAMASK19.id_of("nose")).sum() > 5 * 50
    assert len(list((tmp_path / "out").glob("group.face*.jpg"))) == 5
    assert read_png(tmp_path / "out" / "group.sheet.jpg").shape[1] > 2400
    coco = json.loads((tmp_path / "out" / "polygons.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    hair = next(each for each in coco["annotations"] if names[each["category_id"]] == "hair")
    assert hair["area"] == int((ids == CELEBAMASK19.id_of("hair")).sum())
    assert len(hair["segmentation"]) >= 5


def test_only_the_largest_faces(tmp_path: Path) -> None:
    photo = group_photo((480, 640), [(160, 240)], height=300)
    photo[:, 400:] = group_photo((480, 240), [(120, 240)], height=150)
    write_image(photo, tmp_path / "two.png")
    out = tmp_path / "out"
    assert run_cli("parse", tmp_path / "two.png", "--out", out, "--faces", 1, "--no-overlay").returncode == 0
    faces = json.loads((out / "two.json").read_text())["faces"]
    assert len(faces) == 1
    assert faces[0]["box_xyxy"][0] < 300


def test_what_needs_attention_is_said(tmp_path: Path) -> None:
    write_image(np.full((240, 320, 3), 127, np.uint8), tmp_path / "wall.png")
    write_image(group_photo((240, 320), [(160, 120)], height=60), tmp_path / "far.png")
    result = run_cli("parse", tmp_path / "wall.png", tmp_path / "far.png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "no face found in" in result.stderr
    assert "wall.png" in result.stderr
    assert "only tiny faces" in result.stderr
    assert "far.png" in result.stderr
    assert (tmp_path / "parsed" / "wall.json").exists()
    assert not read_png(tmp_path / "parsed" / "wall.png").any()


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("https://example.org/a.jpg", "download the image first"),
        ("clip.mp4", "edge-segface webcam --source clip.mp4"),
        ("paper.pdf", "pdftoppm"),
        ("phone.HEIC", "convert it to JPEG"),
    ],
)
def test_what_is_not_an_image_is_pointed_elsewhere(tmp_path: Path, text: str, pointer: str) -> None:
    assert_one_line_error(run_cli("parse", text, cwd=tmp_path), pointer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_photo_of_100_megapixels_needs_bounded_memory(tmp_path: Path) -> None:
    photo = cv2.resize(group_photo((435, 580), [(290, 217)], height=200), (11600, 8700), interpolation=cv2.INTER_LINEAR)
    write_image(np.asarray(photo, dtype=np.uint8), tmp_path / "large.jpg")
    result = run_cli("parse", tmp_path / "large.jpg", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert ": 1 face" in result.stdout
    assert read_png(tmp_path / "out" / "large.png").shape == (8700, 11600)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2.5 * 2**20  # in KiB
