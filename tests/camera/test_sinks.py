"""Masks: their names, and which older files they replace. Recordings are in test_recording.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_segface.camera.result import FrameResult
from edge_segface.camera.sinks import MASK_LIST, Masks
from edge_segface.errors import OutputError, SinkError
from edge_segface.frames import ClassMap, Frame
from edge_segface.labels import CELEBAMASK19
from tests.support.images import read_png


def result(index: int, name: str | None = None) -> FrameResult:
    frame = Frame(np.zeros((20, 30, 3), np.uint8), index, 0.0, name)
    return FrameResult(frame, ClassMap(np.full((20, 30), index, np.uint8), CELEBAMASK19), [])


def write_masks(folder: Path, results: list[FrameResult], *, overwrite: bool = False) -> None:
    masks = Masks(folder, overwrite=overwrite)
    for each in results:
        masks.show(each)
    masks.close()


def png_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def test_masks_are_named_as_images_or_numbered(tmp_path: Path) -> None:
    write_masks(tmp_path, [result(3, "photo"), result(12)])
    assert png_names(tmp_path) == ["000012.png", "photo.png"]
    assert (read_png(tmp_path / "photo.png") == 3).all()
    assert (tmp_path / MASK_LIST).read_text().splitlines() == ["photo.png", "000012.png"]


def test_masks_of_an_earlier_run_are_kept_unless_they_may_be_overwritten(tmp_path: Path) -> None:
    write_masks(tmp_path, [result(1), result(2, "b")])
    with pytest.raises(SinkError, match=r"already holds 2 PNG files .*000001.png.*; .*add --overwrite"):
        Masks(tmp_path)
    Masks(tmp_path, overwrite=True).close()  # a run that ends before its first mask
    assert png_names(tmp_path) == ["000001.png", "b.png"]
    write_masks(tmp_path, [result(5, "c")], overwrite=True)
    assert png_names(tmp_path) == ["c.png"]


@pytest.mark.parametrize("name", ["000123.png", "photo.PNG"])
def test_other_files_are_never_removed(tmp_path: Path, name: str) -> None:
    write_masks(tmp_path, [result(1)])
    (tmp_path / name).write_bytes(b"an image of a dataset")
    for overwrite in (False, True):
        with pytest.raises(SinkError, match=rf"already holds .* PNG files .*(000001|{name[:-4]})"):
            Masks(tmp_path, overwrite=overwrite)
    assert (tmp_path / name).read_bytes() == b"an image of a dataset"


def test_a_list_names_nothing_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    folder = tmp_path / "masks"
    write_masks(folder, [result(1)])
    (folder / MASK_LIST).write_text("../a.png\n000001.png\nnotes.txt\n")
    (folder / "notes.txt").write_text("mine")
    write_masks(folder, [result(2)], overwrite=True)
    assert png_names(folder) == ["000002.png"]
    assert (tmp_path / "a.png").exists()
    assert (folder / "notes.txt").exists()


def test_a_folder_that_disappears_is_an_error(tmp_path: Path) -> None:
    masks = Masks(tmp_path / "masks")
    (tmp_path / "masks").rmdir()
    with pytest.raises(OutputError, match="cannot write .*masks.txt"):
        masks.show(result(0))
