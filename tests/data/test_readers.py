"""Readers, on small datasets in the published layouts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edge_segface.data import open_dataset
from edge_segface.data.readers.celebamask import halve
from edge_segface.data.readers.landmarks import FIVE_OF_106, five_points
from edge_segface.errors import DatasetError
from edge_segface.labels import CELEBAMASK19, CELEBAMASK19_RAW, HELEN11, LAPA11
from tests.support.datasets import face, landmarks_of, write_celebamask, write_folder, write_helen, write_lapa

MASKS = "CelebAMask-HQ-mask-anno"


def test_celebamask_splits_follow_the_partition_through_the_mapping(tmp_path: Path) -> None:
    root = write_celebamask(tmp_path / "celeb", {0: 0, 1: 1, 2: 2, 2001: 0})
    names = {split: open_dataset("celebamask", root, split).names for split in ("train", "val", "test", "all")}
    assert names == {"train": ("0", "2001"), "val": ("1",), "test": ("2",), "all": ("0", "1", "2", "2001")}


def test_celebamask_parts_are_painted_in_class_order(tmp_path: Path) -> None:
    root = write_celebamask(tmp_path / "celeb", {5: 0})
    necklace = np.zeros((64, 64, 3), np.uint8)
    necklace[:10, :10] = 255
    cv2.imwrite(str(root / MASKS / "0" / "00005_neck_l.png"), necklace)
    cv2.imwrite(str(root / MASKS / "0" / "00005_hair.png"), np.full((64, 64, 3), 255, np.uint8))
    labels = open_dataset("celebamask", root, "train")[0].labels
    assert (labels[:10, :10] == CELEBAMASK19.id_of("necklace")).all()  # the last class covers all others
    assert not np.isin(labels, [CELEBAMASK19.id_of("skin"), CELEBAMASK19.id_of("nose")]).any()  # hair comes later


def test_celebamask_images_are_halved_as_pillow_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 96, 3), dtype=np.uint8)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((48, 64), Image.Resampling.BICUBIC))
    halved = halve(image)
    assert halved.shape == expected.shape
    inner = np.s_[2:-2, 2:-2]  # at the edge Pillow drops taps where OpenCV repeats pixels
    assert np.abs(halved[inner].astype(int) - expected[inner]).max() <= 1


def test_celebamask_reports_missing_files(tmp_path: Path) -> None:
    root = write_celebamask(tmp_path / "celeb", {0: 0, 1: 0})
    (root / MASKS / "0" / "00001_skin.png").unlink()
    with pytest.raises(DatasetError, match=r"1 part missing: 1 \(00001_skin.png\)"):
        open_dataset("celebamask", root, "train")
    (root / "CelebA-HQ-img" / "0.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 image missing: 0 \(0.jpg\)"):
        open_dataset("celebamask", root, "train")
    with pytest.raises(DatasetError, match="1 image missing: 0"):
        open_dataset("celebamask", root, "all")
    (root / "list_eval_partition.txt").unlink()
    with pytest.raises(DatasetError, match="has no list_eval_partition.txt, which defines its splits"):
        open_dataset("celebamask", root, "train")


def test_lapa_samples_have_five_landmarks(tmp_path: Path) -> None:
    root = write_lapa(tmp_path / "lapa", {"train": 3, "val": 1, "test": 1})
    dataset = open_dataset("lapa", root, "train")
    assert len(dataset) == 3
    assert dataset.space == LAPA11
    assert dataset.squashed
    assert dataset[1].landmarks_xy == pytest.approx(landmarks_of(face(1, 96)))


def test_lapa_rejects_landmark_files_without_106_points(tmp_path: Path) -> None:
    root = write_lapa(tmp_path / "lapa", {"train": 2})
    path = root / "train" / "landmarks" / "0_0.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(DatasetError, match="1 landmarks that are not 106 points: 0_0"):
        open_dataset("lapa", root, "train")


def test_five_of_106_landmarks_are_the_means_that_segface_uses() -> None:
    points = np.arange(212.0).reshape(106, 2)
    expected = [(points[74] + points[104]) / 2, (points[83] + points[105]) / 2, points[54], points[84], points[90]]
    assert five_points(points, FIVE_OF_106) == pytest.approx(np.array(expected))


def test_helen_is_cropped_around_its_landmarks(tmp_path: Path) -> None:
    root = write_helen(tmp_path / "helen", {"train": 2, "test": 1})
    sample = open_dataset("helen", root, "train")[1]
    side = np.ptp(landmarks_of(face(1, 96)), axis=0).max() * 1.2
    assert sample.labels.shape[0] == pytest.approx(side, abs=1.5)
    assert landmarks_of(sample).mean(axis=0) == pytest.approx(np.array(sample.labels.shape) / 2, abs=8)
    assert open_dataset("helen", root, "test").space == HELEN11


def test_folder_is_split_by_a_seed_without_lists(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 20, size=32)
    train, val = (open_dataset("folder", root, split) for split in ("train", "val"))
    assert val.names == ("017", "015")  # must never change: models were trained on the others
    assert set(train.names) | set(val.names) == {f"{number:03d}" for number in range(20)}
    assert len(train) == 18
    with pytest.raises(DatasetError, match=r"no test\.txt"):
        open_dataset("folder", root, "test")


def test_folder_is_split_by_lists(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 5, size=32)
    (root / "test.txt").write_text("003\n004\n")
    assert open_dataset("folder", root, "test").names == ("003", "004")
    with pytest.raises(DatasetError, match="has split lists, but none for val"):
        open_dataset("folder", root, "val")
    (root / "test.txt").write_text("004\n003\n", encoding="utf-8-sig")
    assert open_dataset("folder", root, "test").names == ("004", "003")
    (root / "test.txt").write_text("004\n", encoding="utf-16")
    with pytest.raises(DatasetError, match=r"test\.txt cannot be read .*save it as UTF-8"):
        open_dataset("folder", root, "test")
    (root / "val.txt").write_text("\n")
    with pytest.raises(DatasetError, match="the val split of .* is empty"):
        open_dataset("folder", root, "val")


def test_folder_masks_in_another_space_are_remapped(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "raw", 2, CELEBAMASK19_RAW)
    dataset = open_dataset("folder", root, "all", CELEBAMASK19_RAW).to_space(CELEBAMASK19)
    assert np.array_equal(dataset[0].labels, face(0).labels)


def test_wrong_kind_of_dataset_is_recognised(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 1)
    with pytest.raises(DatasetError, match="is not laid out as celebamask .*no folder CelebA-HQ-img.*--dataset folder"):
        open_dataset("celebamask", root, "train")
    with pytest.raises(DatasetError, match="is not laid out as lapa .*no folder train/images"):
        open_dataset("lapa", root, "train")
    (root / "train").mkdir()
    with pytest.raises(DatasetError, match=r"no file train/landmarks\.txt"):
        open_dataset("helen", root, "train")
    with pytest.raises(DatasetError, match="is not a folder"):
        open_dataset("helen", tmp_path / "none", "train")


def test_unknown_splits_kinds_and_spaces_name_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'validation'; choose one of train, val, test, all"):
        open_dataset("folder", tmp_path, "validation")
    with pytest.raises(DatasetError, match="no split 'all'; choose one of train, val, test"):
        open_dataset("drawn", None, "all")
    with pytest.raises(DatasetError, match="choose one of celebamask, folder, lapa, helen, drawn"):
        open_dataset("coco", tmp_path, "train")
    with pytest.raises(DatasetError, match="lapa needs a folder"):
        open_dataset("lapa", None, "train")
    with pytest.raises(DatasetError, match=r"drawn is labelled in celebamask19 \(found: lapa11\)"):
        open_dataset("drawn", None, "train", LAPA11)
