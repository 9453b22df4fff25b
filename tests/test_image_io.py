from __future__ import annotations

import os
import resource
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from edge_segface.errors import ImageError
from edge_segface.frames import OUTSIDE_BGR
from edge_segface.image_io import (
    MAX_MEGAPIXELS_VARIABLE,
    find_images,
    is_truncated,
    max_pixels,
    read_image,
    write_image,
)


def test_every_kind_is_read_as_a_viewer_shows_it(tmp_path: Path, drawn_face: np.ndarray) -> None:
    rgb = Image.fromarray(drawn_face[..., ::-1])
    grey = np.asarray(rgb.convert("L"))
    rgb.save(tmp_path / "plain.png")
    rgb.convert("L").save(tmp_path / "grey.png")
    rgb.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    cv2.imwrite(str(tmp_path / "deep.png"), drawn_face.astype(np.uint16) * 257)
    rgb.rotate(90, expand=True).save(tmp_path / "turned.jpg", quality=95, exif=_exif(orientation=6))
    rgb.quantize(64).save(tmp_path / "palette.png")
    (tmp_path / "naïve name.png").write_bytes((tmp_path / "plain.png").read_bytes())

    assert np.array_equal(read_image(tmp_path / "plain.png"), drawn_face)
    assert np.array_equal(read_image(tmp_path / "naïve name.png"), drawn_face)
    assert np.abs(read_image(tmp_path / "grey.png").astype(int) - grey[..., None]).max() <= 1
    assert np.array_equal(read_image(tmp_path / "deep.png"), drawn_face)
    for name, most in (("cmyk.jpg", 4.0), ("turned.jpg", 4.0), ("palette.png", 8.0)):
        read = read_image(tmp_path / name)
        assert read.shape == drawn_face.shape, name
        assert np.abs(read.astype(float) - drawn_face).mean() < most, name


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_transparency_becomes_the_mean_colour(tmp_path: Path, drawn_face: np.ndarray, depth: type) -> None:
    scale = np.iinfo(depth).max // 255
    alpha = np.full(drawn_face.shape[:2], 255)
    alpha[:50] = 0
    cv2.imwrite(str(tmp_path / "a.png"), (np.dstack([drawn_face, alpha]) * scale).astype(depth))
    read = read_image(tmp_path / "a.png")
    assert (read[:50] == OUTSIDE_BGR).all()
    assert np.array_equal(read[50:], drawn_face[50:])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_transparency_turns_with_its_picture(tmp_path: Path, drawn_face: np.ndarray, orientation: int) -> None:
    image = Image.fromarray(np.dstack([drawn_face[..., ::-1], np.full(drawn_face.shape[:2], 255, np.uint8)]))
    image.putalpha(Image.fromarray(np.where(np.arange(240) < 60, 0, 255).astype(np.uint8)[None].repeat(200, 0)))
    image.save(tmp_path / "a.png", exif=_exif(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    read = read_image(tmp_path / "a.png")
    opaque = expected[..., 3] == 255
    assert np.array_equal(read[opaque], expected[opaque][:, 2::-1])
    assert (read[~opaque] == OUTSIDE_BGR).all()


def test_what_cannot_be_read_is_named(tmp_path: Path, drawn_face: np.ndarray) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not a picture")
    write_image(np.zeros((1, 1, 3), np.uint8), tmp_path / "dot.png")
    write_image(np.zeros((9, 20000, 3), np.uint8), tmp_path / "wide.png")
    for suffix in (".jpg", ".png"):
        write_image(drawn_face, tmp_path / f"whole{suffix}")
        content = (tmp_path / f"whole{suffix}").read_bytes()
        (tmp_path / f"cut{suffix}").write_bytes(content[: len(content) * 2 // 3])
    for name, text in {
        "empty.jpg": r"empty.jpg is empty \(found: 0 bytes\)",
        "text.jpg": "not a readable image",
        "dot.png": "dot.png is too small",
        "wide.png": "wide.png is too large",
        "cut.jpg": "is truncated",
        "cut.png": "is truncated",
        "none.jpg": "No such file",
    }.items():
        with pytest.raises(ImageError, match=text):
            read_image(tmp_path / name)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name, words in {
        "pipe.png": "not a regular file",
        "zero.png": "not a regular file",
        "loop.png": "symbolic links",
        "a\0b.png": "null",
    }.items():
        with pytest.raises(ImageError, match=words):
            read_image(tmp_path / name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
def test_a_size_beyond_the_limit_is_found_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn_face: np.ndarray, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(drawn_face, path)
    monkeypatch.setenv(MAX_MEGAPIXELS_VARIABLE, "0.04")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=r"too large \(found: 240x200\).*EDGE_SEGFACE_MAX_MEGAPIXELS"):
        read_image(path)
    monkeypatch.undo()
    assert read_image(path).shape == drawn_face.shape


@pytest.mark.parametrize("given", ["", "many", "inf", "nan", "1e999"])
def test_an_unusable_limit_is_the_default(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(MAX_MEGAPIXELS_VARIABLE, given)
    assert max_pixels() == 120_000_000


def test_a_bomb_stays_small(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(50_000_000))), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    (tmp_path / "bomb.png").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match="too large"):
        read_image(tmp_path / "bomb.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB


def test_a_thumbnail_with_an_end_does_not_hide_a_cut(tmp_path: Path, drawn_face: np.ndarray) -> None:
    done, thumbnail = cv2.imencode(".jpg", drawn_face[:32, :32])
    assert done
    done, whole = cv2.imencode(".jpg", drawn_face)
    assert done
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail.tobytes()
    content = whole.tobytes()[:2] + segment + whole.tobytes()[2:]
    assert not is_truncated(content)
    assert not is_truncated(content + b"a maker's trailer")
    assert is_truncated(content[:-200])
    filled = content[:2] + b"\xff\xff" + content[2:]
    assert cv2.imdecode(np.frombuffer(filled, np.uint8), cv2.IMREAD_COLOR) is not None
    assert not is_truncated(filled)


def test_finding(tmp_path: Path, drawn_face: np.ndarray) -> None:
    for name in ("b.png", "a.JPG", "sub/c.png"):
        write_image(drawn_face, tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    a, b, c = tmp_path / "a.JPG", tmp_path / "b.png", tmp_path / "sub" / "c.png"
    assert find_images([str(tmp_path)]) == [a, b]
    assert find_images([f"{tmp_path}/**/*.png", str(b)]) == [b, c]
    with pytest.raises(ImageError, match="no image in .*zip; check the pattern"):
        find_images([f"{tmp_path}/*.zip"])
    with pytest.raises(ImageError, match="File name too long"):
        read_image(find_images(["x" * 5000])[0])
    assert find_images([str(b), str(tmp_path / "sub" / ".." / "b.png")]) == [b]
    (tmp_path / "bare" / "folder.png").mkdir(parents=True)
    with pytest.raises(ImageError, match="no image in .*bare; it should contain"):
        find_images([str(tmp_path / "bare")])


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
