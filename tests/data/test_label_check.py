"""The label space of masks and the sides in them, told by where the ids lie."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_segface.data import Dataset, open_dataset
from edge_segface.data.label_check import BISENET19, ORDERS, IdPlaces, choose_space, fit_spaces, sides_contradict
from edge_segface.errors import DatasetError
from edge_segface.frames import UInt8Array
from edge_segface.labels import CELEBAMASK19, CELEBAMASK19_RAW, HELEN11, LAPA11, LabelSpace, remap_table
from edge_segface.progress import NoProgress
from tests.conftest import assert_one_line_error, run_cli
from tests.support.datasets import face, write_folder
from tests.support.images import read_png

FACES = 24


class Notes(NoProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def masks_in(space: LabelSpace, size: int = 64) -> dict[str, UInt8Array]:
    table = remap_table(CELEBAMASK19, space, drop_missing=True)
    return {f"{number:03d}": table[face(number, size).labels] for number in range(FACES)}


def change_masks(root: Path, names: tuple[str, ...], table: UInt8Array) -> None:
    for name in names:
        path = root / "masks" / f"{name}.png"
        cv2.imwrite(str(path), table[read_png(path)])


@pytest.mark.parametrize("space", ORDERS, ids=lambda space: space.name.split()[0])
def test_each_drawn_face_fits_its_own_order_best(space: LabelSpace) -> None:
    fits = [fit_spaces(IdPlaces.of(mask)) for mask in masks_in(space).values()]
    assert all(fit is not None and fit.best == space for fit in fits)
    assert sum(fit is not None and fit.clear_best() == space for fit in fits) > 0.9 * FACES


@pytest.mark.parametrize("space", [CELEBAMASK19, CELEBAMASK19_RAW, LAPA11], ids=lambda space: space.name)
@pytest.mark.parametrize("size", [32, 64, 200])
def test_a_folder_tells_its_space_and_contradicts_every_other_name(space: LabelSpace, size: int) -> None:
    masks = masks_in(space, size)
    assert choose_space(masks, Path("faces"), named=None) == space
    for other in ORDERS[:3]:
        if other == space:
            assert choose_space(masks, Path("faces"), named=other) == other
            continue
        with pytest.raises(DatasetError, match=f"faces are not in {other.name} .*give --labels {space.name}"):
            choose_space(masks, Path("faces"), named=other)


def test_of_two_spaces_in_the_same_order_the_usual_one_is_chosen() -> None:
    masks = masks_in(LAPA11)
    assert choose_space(masks, Path(), named=HELEN11) == HELEN11
    assert choose_space(masks, Path(), named=None, usual=HELEN11) == HELEN11
    assert choose_space(masks, Path(), named=None, usual=CELEBAMASK19) == LAPA11


def test_the_order_of_bisenet_is_named_but_not_accepted() -> None:
    with pytest.raises(DatasetError, match="none of our label spaces .*BiSeNet.*change their ids"):
        choose_space(masks_in(BISENET19), Path(), named=None)
    with pytest.raises(DatasetError, match="not in celebamask19 .*BiSeNet"):
        choose_space(masks_in(BISENET19), Path(), named=CELEBAMASK19)


def test_masks_that_do_not_tell_need_a_name() -> None:
    two_classes = {name: (mask == 14).astype(np.uint8) for name, mask in masks_in(CELEBAMASK19).items()}
    with pytest.raises(DatasetError, match="do not tell their label space .*too few classes.*--labels: celebamask19, "):
        choose_space(two_classes, Path(), named=None)
    assert choose_space(two_classes, Path(), named=CELEBAMASK19) == CELEBAMASK19
    shuffled = np.random.default_rng(0).permutation(19).astype(np.uint8)
    table = np.pad(shuffled, (0, 256 - 19))
    with pytest.raises(DatasetError, match="rules of a face obeyed as celebamask19 [0-9]+ %"):
        choose_space({name: table[mask] for name, mask in masks_in(CELEBAMASK19).items()}, Path(), named=None)
    with pytest.raises(DatasetError, match="none of our label spaces .*ids up to 255"):
        choose_space({"a": np.tile(np.arange(251, 256, dtype=np.uint8), (8, 8))}, Path(), named=None)


def test_a_folder_of_two_spaces_is_stopped_with_names_of_each(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", FACES)
    odd = ("005", "011", "017", "021")
    change_masks(root, odd, remap_table(CELEBAMASK19, CELEBAMASK19_RAW))
    for space in (None, CELEBAMASK19):
        with pytest.raises(DatasetError, match="are in several label spaces") as caught:
            open_dataset("folder", root, "all", space)
        assert "fit celebamask19: 000, 001, 002 and " in str(caught.value)
        assert "4 fit celebamask19-raw: 005, 011, 017 and 1 more" in str(caught.value)
    notes = Notes()
    dataset = open_dataset("folder", root, "all", CELEBAMASK19, skip_bad=True, progress=notes)
    assert set(dataset.names) == {f"{number:03d}" for number in range(FACES)} - set(odd)
    assert notes.lines == ["skipped in all: 4 with mask in another label space: 005, 011, 017"]


def test_mirrored_masks_are_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", FACES, CELEBAMASK19_RAW)

    def opened() -> tuple[Dataset, list[str]]:
        notes = Notes()
        return open_dataset("folder", root, "all", CELEBAMASK19_RAW, progress=notes), notes.lines

    assert opened()[1] == []
    change_masks(root, ("003", "004", "010", "020"), CELEBAMASK19_RAW.flip_table)
    expected = (
        f"left and right contradict the image in 4 of {FACES} masks of {root}, as if mirrored: 003, 004, 010 and 1 more"
    )
    for _ in range(2):  # found, then known
        dataset, notes = opened()
        assert len(dataset) == FACES
        assert notes == [expected]


@pytest.mark.parametrize("quarters", range(4))
def test_sides_are_judged_in_the_frame_of_the_face(quarters: int) -> None:
    for mask in masks_in(CELEBAMASK19).values():
        turned = np.rot90(mask, quarters)
        assert not sides_contradict(IdPlaces.of(turned), CELEBAMASK19)
        assert sides_contradict(IdPlaces.of(turned[:, ::-1]), CELEBAMASK19)


def test_a_profile_with_one_side_never_contradicts() -> None:
    mask = masks_in(CELEBAMASK19)["000"].copy()
    for part in ("right_brow", "right_eye", "right_ear"):
        mask[mask == CELEBAMASK19.id_of(part)] = CELEBAMASK19.id_of("skin")
    assert not sides_contradict(IdPlaces.of(mask), CELEBAMASK19)
    assert not sides_contradict(IdPlaces.of(mask[:, ::-1]), CELEBAMASK19)


def test_evaluate_says_which_space_it_detected_and_rejects_a_wrong_name(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 6, CELEBAMASK19_RAW)
    arguments = ("evaluate", "edge-256", "--dataset", "folder", "--data", root)
    detected = run_cli(*arguments)
    assert detected.returncode == 0, detected.stderr
    assert f"label space of the masks in {root}: celebamask19-raw, detected" in detected.stderr
    named = run_cli(*arguments, "--labels", "celebamask19-raw")
    assert named.stdout == detected.stdout
    assert "detected" not in named.stderr
    assert_one_line_error(run_cli(*arguments, "--labels", "celebamask19"), "not in celebamask19 ", "celebamask19-raw")
