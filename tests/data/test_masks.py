"""Masks are read as ids from every kind of PNG, and rejected if they hold anything else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edge_segface.data.readers.files import check_ids, read_mask, read_sample_image
from edge_segface.data.sample import Sample, SampleError
from edge_segface.labels import LAPA11

IDS = np.random.default_rng(1).integers(0, 19, (20, 30), dtype=np.uint8)


def palette_image(transparency: int | None = None) -> Image.Image:
    """Return ids under a palette of unrelated colours, some of them the same."""
    image = Image.fromarray(IDS, "P")
    image.putpalette([255 - index // 3 for index in range(57)])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


MASK_IMAGES = {
    "palette": palette_image(),
    "palette with transparency": palette_image(transparency=3),
    "grey": Image.fromarray(IDS),
    "grey with alpha": Image.merge("LA", [Image.fromarray(IDS), Image.fromarray(255 - IDS)]),
    "RGB": Image.merge("RGB", [Image.fromarray(IDS)] * 3),
    "RGBA": Image.merge("RGBA", [Image.fromarray(IDS)] * 3 + [Image.fromarray(255 - IDS)]),
}


@pytest.mark.parametrize("kind", MASK_IMAGES)
def test_mask_ids_are_read_from_every_kind_of_png(tmp_path: Path, kind: str) -> None:
    MASK_IMAGES[kind].save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert np.array_equal(mask, IDS)
    assert mask.dtype == np.uint8
    assert mask.flags.writeable


def test_mask_of_one_bit_is_0_and_255(tmp_path: Path) -> None:
    Image.fromarray(IDS > 9).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), np.where(IDS > 9, 255, 0))


@pytest.mark.parametrize("shape", [(9, 9, 3), (9, 9, 4)])
def test_mask_with_colours_is_rejected(tmp_path: Path, shape: tuple[int, ...]) -> None:
    cv2.imwrite(str(tmp_path / "mask.png"), np.random.default_rng(0).integers(0, 9, shape, dtype=np.uint8))
    with pytest.raises(SampleError, match="mask with colours instead of ids"):
        read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_mask_of_16_bits_is_rejected(tmp_path: Path, channels: int) -> None:
    cv2.imwrite(str(tmp_path / "mask.png"), np.full((9, 9, channels), 5, np.uint16))
    with pytest.raises(SampleError, match="unreadable mask .*does not hold 8-bit values"):
        read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize("kind", ["palette", "grey", "RGB"])
def test_mask_that_is_cut_short_or_damaged_is_rejected(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mask.png"
    MASK_IMAGES[kind].save(path)
    content = path.read_bytes()
    for end in (*range(0, len(content) - 4, 7), len(content) - 12):  # the last 4 bytes are a checksum of nothing
        path.write_bytes(content[:end])
        with pytest.raises(SampleError, match="unreadable mask"):
            read_mask(path)
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    with pytest.raises(SampleError, match="unreadable mask"):
        read_mask(path)


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(SampleError, match=r"unreadable mask .*text\.png"):
        read_mask(tmp_path / "text.png")
    with pytest.raises(SampleError, match="unreadable image"):
        read_sample_image(tmp_path / "text.png")
    with pytest.raises(SampleError, match=r"mask missing \(found: none\.png\)"):
        read_mask(tmp_path / "none.png")
    with pytest.raises(SampleError, match=r"image missing \(found: none\.png\)"):
        read_sample_image(tmp_path / "none.png")


def test_ids_beyond_the_label_space_are_rejected() -> None:
    with pytest.raises(SampleError, match=r"mask with ids outside lapa11 \(found: id 18\)"):
        check_ids(IDS, LAPA11)


def test_image_and_mask_must_have_the_same_size() -> None:
    with pytest.raises(SampleError, match=r"image and mask differ in size \(found: 4x4 and 5x4\)"):
        Sample("a", np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8))
