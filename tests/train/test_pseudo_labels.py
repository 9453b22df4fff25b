from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge_segface.data import open_dataset
from edge_segface.errors import TrainingError
from edge_segface.image_io import find_images
from edge_segface.labels import CELEBAMASK19, CELEBAMASK19_RAW, LAPA11
from edge_segface.model.checkpoint import save_weights
from edge_segface.train.pseudo_labels import CoarseMasks, pseudo_labels, write_pseudo_labels
from tests.conftest import assert_one_line_error, run_cli
from tests.support.weights import weights_of


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("a.jpg", (90, 120)), ("b.png", (128, 128))):
        cv2.imwrite(str(folder / name), rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    (folder / "broken.jpg").write_bytes(b"not an image")
    return folder


def test_the_folder_is_a_dataset_and_a_second_run_adds_what_is_missing(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    teacher = weights_of("pico")
    first = write_pseudo_labels([teacher], find_images([str(photos)]), out, 128)
    assert (first.written, first.present, first.skipped) == (2, 0, ["broken.jpg"])
    dataset = open_dataset("folder", out, "all", CELEBAMASK19)
    assert {name: dataset.read(name).labels.shape for name in dataset.names} == {"a": (90, 120), "b": (128, 128)}
    (out / "masks" / "b.png").unlink()
    again = write_pseudo_labels([teacher], find_images([str(photos)]), out, 128)
    assert (again.written, again.present) == (1, 1)


def test_labels_of_a_mirrored_image_are_mirrored() -> None:
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    straight = pseudo_labels([weights_of("pico")], image, 128, CELEBAMASK19)
    mirrored = pseudo_labels([weights_of("pico")], np.ascontiguousarray(image[:, ::-1]), 128, CELEBAMASK19)
    assert (CELEBAMASK19.flip_table[mirrored][:, ::-1] == straight).mean() > 0.999


def test_several_teachers_are_averaged() -> None:
    image = np.random.default_rng(2).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    teachers = [weights_of("pico", seed=seed) for seed in (0, 1)]
    alone = [pseudo_labels([teacher], image, 128, CELEBAMASK19) for teacher in teachers]
    together = pseudo_labels(teachers, image, 128, CELEBAMASK19)
    assert not np.array_equal(alone[0], alone[1])
    assert np.isin(together, np.union1d(*alone)).mean() > 0.5
    assert not all(np.array_equal(together, one) for one in alone)


def test_teachers_of_different_label_spaces_or_with_a_warp_are_rejected(photos: Path, tmp_path: Path) -> None:
    teacher = weights_of("pico")
    other = replace(weights_of("pico", 11), space=LAPA11)
    with pytest.raises(TrainingError, match="one label space.*celebamask19 and lapa11"):
        write_pseudo_labels([teacher, other], find_images([str(photos)]), tmp_path / "out", 128)
    with pytest.raises(TrainingError, match="needs landmarks"):
        write_pseudo_labels([replace(teacher, warp="roi-tanh")], find_images([str(photos)]), tmp_path / "out", 128)
    assert not (tmp_path / "out").exists()
    assert torch.is_grad_enabled()


def test_parts_of_coarse_masks_replace_hair_and_background_only(tmp_path: Path) -> None:
    labels = np.repeat(CELEBAMASK19.ids_of("background", "hair", "skin", "hat"), 2).astype(np.uint8).reshape(1, -1)
    hat, cloth, glasses = (CELEBAMASK19_RAW.id_of(part) for part in ("hat", "cloth", "glasses"))
    cv2.imwrite(str(tmp_path / "a.png"), np.array([[hat, glasses, hat, 255, hat, hat, cloth, 255]], dtype=np.uint8))
    masks = CoarseMasks(tmp_path, CELEBAMASK19_RAW, ("hat", "cloth"))
    found = [CELEBAMASK19.parts[index] for index in masks.added_to(labels, "a", CELEBAMASK19)[0]]
    assert labels[0].tolist() == sorted(labels[0].tolist())  # background, skin, hair, hat
    assert found == ["hat", "background", "skin", "skin", "hat", "hat", "cloth", "hat"]
    assert masks.added_to(labels, "without-a-mask", CELEBAMASK19) is labels


def test_coarse_masks_of_another_size_are_reported(photos: Path, tmp_path: Path) -> None:
    coarse = tmp_path / "coarse"
    coarse.mkdir()
    cv2.imwrite(str(coarse / "a.png"), np.zeros((9, 12), dtype=np.uint8))
    masks = CoarseMasks(coarse, CELEBAMASK19, ("hat",))
    result = write_pseudo_labels([weights_of("pico")], find_images([str(photos)]), tmp_path / "out", 128, coarse=masks)
    assert (result.written, result.skipped) == (1, ["a.jpg", "broken.jpg"])


def test_two_images_of_one_name_are_rejected(photos: Path, tmp_path: Path) -> None:
    (photos / "a.png").write_bytes((photos / "b.png").read_bytes())
    with pytest.raises(TrainingError, match="2 images are called a"):
        write_pseudo_labels([weights_of("pico")], find_images([str(photos)]), tmp_path / "out", 128)
    assert not (tmp_path / "out").exists()


def test_command_labels_what_it_can_and_continues(photos: Path, tmp_path: Path) -> None:
    teacher, out = tmp_path / "teacher.pt", tmp_path / "out"
    save_weights(weights_of("pico"), teacher)
    (photos / "broken.jpg").rename(photos / "c.jpg")
    arguments = ("pseudo-label", photos, "--teacher", teacher, "--teacher", teacher, "-o", out, "--size", 128)
    first = run_cli(*arguments)
    assert first.returncode == 1
    assert first.stdout == f"{out}  2 images labelled\n"
    assert "c.jpg" in first.stderr
    assert "could not be read: 1" in first.stderr
    (photos / "c.jpg").unlink()
    again = run_cli(*arguments)
    assert again.returncode == 0, again.stderr
    assert again.stdout == f"{out}  0 images labelled, 2 were there before\n"


def test_wrong_arguments_of_the_command_are_one_line(photos: Path, tmp_path: Path) -> None:
    teacher, out = tmp_path / "teacher.pt", tmp_path / "x"
    save_weights(weights_of("pico"), teacher)
    assert_one_line_error(run_cli("pseudo-label", photos, "--teacher", "missing.pt", "-o", out), "does not exist")
    absent = run_cli("pseudo-label", tmp_path / "no", "--teacher", teacher, "-o", out)
    assert absent.returncode == 1
    assert "No such file" in absent.stderr
    wrong_size = run_cli("pseudo-label", photos, "--teacher", teacher, "-o", out, "--size", 100)
    assert_one_line_error(wrong_size, "multiple of 32")
    arguments = ("pseudo-label", photos, "--teacher", teacher, "-o", out, "--coarse")
    assert_one_line_error(run_cli(*arguments, "missing"), "missing is not a folder")
    assert_one_line_error(run_cli(*arguments, photos, "--coarse-parts", "hats"), "no part 'hats'", "hat")
    assert not out.exists()
