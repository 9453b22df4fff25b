"""Passes over a dataset: checking, counting, loading into memory, and the cache of their results."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.data import Dataset, open_dataset
from edge_segface.data.check import class_pixels, in_memory
from edge_segface.data.readers.folder import open_folder
from edge_segface.data.sample import Sample
from edge_segface.data.synthetic.drawn import open_drawn
from edge_segface.errors import DatasetError
from edge_segface.labels import CELEBAMASK19, CELEBAMASK19_RAW
from edge_segface.progress import NoProgress
from tests.support.datasets import write_folder
from tests.support.images import read_png


@dataclass
class CountedSteps(NoProgress):
    """Counts the samples that a check announces and those that it reads."""

    total: int = 0
    done: int = 0

    def stage(self, name: str, total: int | None = None) -> None:
        assert name == "checking the dataset"
        self.total += total or 0

    def advance(self, count: int = 1) -> None:
        self.done += count


def samples_read_by(opening: Callable[[CountedSteps], object]) -> int:
    progress = CountedSteps()
    try:
        opening(progress)
    finally:
        assert progress.done == progress.total
    return progress.done


@pytest.fixture
def faces(tmp_path: Path) -> Dataset:
    return open_dataset("folder", write_folder(tmp_path / "faces", 3, size=32), "all")


def test_unusable_samples_are_counted_and_named_or_skipped(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 8)
    (root / "masks" / "001.png").unlink()
    (root / "images" / "002.jpg").unlink()
    (root / "images" / "003.jpg").write_bytes(b"not an image")
    mask = read_png(root / "masks" / "004.png")
    mask[0, 0] = 19
    cv2.imwrite(str(root / "masks" / "004.png"), mask)
    cv2.imwrite(str(root / "masks" / "005.png"), mask[32:])
    with pytest.raises(DatasetError) as caught:
        open_dataset("folder", root, "all")
    text = str(caught.value)
    assert text.startswith(f"5 of 8 samples of {root} cannot be used")
    for problem in ("1 mask missing: 001", "1 image missing: 002", "1 unreadable image: 003"):
        assert problem in text
    assert "1 mask with ids outside celebamask19: 004 (id 19)" in text
    assert "1 image and mask differ in size: 005 (64x64 and 64x32)" in text
    dataset = open_dataset("folder", root, "all", skip_bad=True)
    assert dataset.names == ("000", "006", "007")
    assert dataset.skipped["mask missing"] == ["001"]


def test_names_with_parentheses_are_skipped_whole(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 2, size=32)
    (root / "images" / "001.jpg").rename(root / "images" / "000 (1).jpg")
    (root / "masks" / "001.png").unlink()
    assert open_dataset("folder", root, "all", skip_bad=True).names == ("000",)


def test_good_samples_are_checked_again_only_when_a_file_changed(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 4, size=32)

    def opening(progress: CountedSteps) -> Dataset:
        return open_dataset("folder", root, "all", progress=progress)

    assert samples_read_by(opening) == 4
    assert samples_read_by(opening) == 0
    mask = root / "masks" / "000.png"
    os.utime(mask, ns=(0, mask.stat().st_mtime_ns + 1))
    assert samples_read_by(opening) == 4


def test_bad_samples_are_checked_every_time(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 4, size=32)
    mask = root / "masks" / "000.png"
    good, status = mask.read_bytes(), mask.stat()
    mask.write_bytes(b"0" * len(good))
    os.utime(mask, ns=(status.st_atime_ns, status.st_mtime_ns))

    def opening(progress: CountedSteps) -> Dataset:
        return open_dataset("folder", root, "all", skip_bad=True, progress=progress)

    assert samples_read_by(opening) == 4
    assert samples_read_by(opening) == 1
    mask.write_bytes(good)  # as if only the disk had failed: same size, same time
    os.utime(mask, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert samples_read_by(opening) == 1
    assert samples_read_by(opening) == 0
    assert len(opening(CountedSteps())) == 4


def test_a_read_only_cache_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGE_SEGFACE_HOME", str(tmp_path / "file"))
    assert len(open_dataset("folder", write_folder(tmp_path / "faces", 2, size=32), "all")) == 2


def test_class_pixels_are_counted_once_and_cached(faces: Dataset) -> None:
    pixels = class_pixels(faces)
    assert pixels.shape == (3, 19)
    assert pixels[1].tolist() == np.bincount(faces[1].labels.ravel(), minlength=19).tolist()

    def fail(name: str) -> Sample:
        raise AssertionError(name)

    assert np.array_equal(class_pixels(replace(faces, read=fail)), pixels)


def test_class_pixels_of_drawn_faces_are_not_cached() -> None:
    for size in (32, 48):
        dataset = open_drawn("val", size)
        assert class_pixels(dataset.only(dataset.names[:2])).sum() == 2 * size * size


def test_class_pixels_are_cached_per_label_space_of_the_masks(tmp_path: Path, faces: Dataset) -> None:
    as_raw, as_is = (
        class_pixels(open_folder(faces.root, "all", space).to_space(CELEBAMASK19))
        for space in (CELEBAMASK19_RAW, CELEBAMASK19)
    )
    assert not np.array_equal(as_raw, as_is)
    assert as_is[0].tolist() == np.bincount(faces[0].labels.ravel(), minlength=19).tolist()


def test_a_dataset_is_loaded_into_memory_only_if_it_fits(faces: Dataset) -> None:
    loaded = in_memory(faces, max_bytes=1 << 20)
    assert loaded[0] is loaded[0]
    assert in_memory(faces, max_bytes=1000) is faces
