"""Readers, on small trees of the real layouts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from edge_segface.data.dataset import Sample, SampleError, class_pixels, in_memory, read_mask
from PIL import Image

from edge_segface.data import open_dataset
from edge_segface.data.readers.celebamask import half_size
from edge_segface.data.readers.folder import open_folder
from edge_segface.data.readers.landmarks import FIVE_OF_106, five_points
from edge_segface.data.synthetic.drawn import drawn_sample
from edge_segface.errors import DatasetError
from edge_segface.labels import CELEBAMASK19, CELEBAMASK19_RAW, HELEN11, LAPA11
from tests.support.datasets import face, landmarks_106, write_celebamask, write_folder, write_helen, write_lapa


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SEGFACE_HOME", str(tmp_path / "cache"))


def test_celebamask_splits_follow_the_partition_through_the_mapping(tmp_path: Path) -> None:
    root = write_celebamask(tmp_path / "celeb", {0: 0, 1: 1, 2: 2, 2001: 0})
    names = {split: open_dataset("celebamask", root, split).names for split in ("train", "val", "test", "all")}
    assert names == {"train": ("0", "2001"), "val": ("1",), "test": ("2",), "all": ("0", "1", "2", "2001")}


def test_celebamask_parts_are_painted_in_the_order_of_the_classes(tmp_path: Path) -> None:
    root = write_celebamask(tmp_path / "celeb", {5: 0})
    everywhere = np.full((64, 64, 3), 255, np.uint8)
    folder = root / "CelebAMask-HQ-mask-anno" / "0"
    cv2.imwrite(
        str(folder / "00005_neck_l.png"), cv2.rectangle(np.zeros((64, 64, 3), np.uint8), (0, 0), (9, 9), (255,) * 3, -1)
    )
    cv2.imwrite(str(folder / "00005_hair.png"), everywhere)
    labels = open_dataset("celebamask", root, "train")[0].labels
    assert (labels[:10, :10] == CELEBAMASK19.id_of("necklace")).all()  # the last part, over everything
    assert not np.isin(labels, [CELEBAMASK19.id_of("skin"), CELEBAMASK19.id_of("nose")]).any()  # hair came later


def test_celebamask_pictures_are_halved_as_pillow_halves_them() -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 96, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 1.2)
    expected = np.asarray(Image.fromarray(image).resize((48, 64), Image.Resampling.BICUBIC))
    ours = half_size(image)
    assert ours.shape == expected.shape
    inner = np.s_[2:-2, 2:-2]  # at the rim Pillow leaves taps out where we repeat the edge
    assert np.abs(ours[inner].astype(int) - expected[inner]).max() <= 1


def test_lapa_brings_its_five_points(tmp_path: Path) -> None:
    root = write_lapa(tmp_path / "lapa", {"train": 3, "val": 1, "test": 1})
    dataset = open_dataset("lapa", root, "train")
    assert len(dataset) == 3
    assert dataset.space == LAPA11
    assert dataset[1].landmarks_xy == pytest.approx(face(1, 96).landmarks_xy)


def test_five_points_of_106_are_the_means_that_segface_takes() -> None:
    points = np.arange(212.0).reshape(106, 2)
    expected = [(points[74] + points[104]) / 2, (points[83] + points[105]) / 2, points[54], points[84], points[90]]
    assert five_points(points, FIVE_OF_106) == pytest.approx(np.array(expected))


def test_helen_is_cut_around_landmarks_at_half_their_numbers(tmp_path: Path) -> None:
    root = write_helen(tmp_path / "helen", {"train": 2, "test": 1})
    sample = open_dataset("helen", root, "train")[1]
    whole = face(1, 96)
    box = np.ptp(whole.landmarks_xy, axis=0).max() * 1.2
    assert sample.labels.shape[0] == pytest.approx(box, abs=1.5)
    assert sample.landmarks_xy.mean(axis=0) == pytest.approx(np.array(sample.labels.shape) / 2, abs=8)
    assert open_dataset("helen", root, "test").space == HELEN11


def test_a_folder_is_split_by_a_seed_or_by_lists(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 20)
    train, val = (open_dataset("folder", root, split) for split in ("train", "val"))
    assert (len(train), len(val)) == (18, 2)
    assert not set(train.names) & set(val.names)
    assert open_dataset("folder", root, "train").names == train.names
    with pytest.raises(DatasetError, match=r"no test\.txt"):
        open_dataset("folder", root, "test")
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


def test_a_folder_in_another_order_is_read_in_ours(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "raw", 2, CELEBAMASK19_RAW)
    dataset = open_dataset("folder", root, "all", CELEBAMASK19_RAW).to_space(CELEBAMASK19)
    assert np.array_equal(dataset[0].labels, face(0).labels)


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_masks_are_read_as_pillow_reads_them(tmp_path: Path, mode: str) -> None:
    ids = np.random.default_rng(1).integers(0, 19, (20, 30), dtype=np.uint8)
    picture = Image.fromarray(ids, "L")
    if mode == "P":
        picture = Image.fromarray(ids, "P")
        picture.putpalette([255 - index // 3 for index in range(57)])  # colours that are no ids, some of them the same
        picture.info["transparency"] = 3
    elif mode == "RGB":
        picture = Image.merge("RGB", [picture] * 3)
    picture.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), ids)


def test_a_mask_in_colours_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "mask.png"), np.random.default_rng(0).integers(0, 9, (9, 9, 3), dtype=np.uint8))
    with pytest.raises(SampleError, match="mask with colours instead of ids"):
        read_mask(tmp_path / "mask.png")


def test_what_cannot_be_used_is_named_counted_and_may_be_left_out(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 8)
    (root / "masks" / "001.png").unlink()
    (root / "images" / "002.jpg").unlink()
    (root / "images" / "003.jpg").write_bytes(b"not a picture")
    mask = cv2.imread(str(root / "masks" / "004.png"), cv2.IMREAD_GRAYSCALE)
    mask[0, 0] = 19
    cv2.imwrite(str(root / "masks" / "004.png"), mask)
    cv2.imwrite(str(root / "masks" / "005.png"), mask[32:])
    with pytest.raises(DatasetError) as caught:
        open_dataset("folder", root, "all")
    text = str(caught.value)
    assert text.startswith(f"5 of 8 samples of {root} cannot be used")
    for words in ("1 mask missing: 001", "1 picture missing: 002", "1 unreadable picture: 003"):
        assert words in text
    assert "1 mask with ids beyond celebamask19: 004 (id 19)" in text
    assert "1 picture and mask differ in size: 005 (64x64 and 64x32)" in text
    dataset = open_dataset("folder", root, "all", skip_bad=True)
    assert dataset.names == ("000", "006", "007")
    assert dataset.left_out["mask missing"] == ["001"]


def test_names_with_brackets_are_left_out_whole(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 2)
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        (root / folder / f"001.{suffix}").rename(root / folder / f"000 (1).{suffix}")
    (root / "masks" / "000 (1).png").unlink()
    assert open_dataset("folder", root, "all", skip_bad=True).names == ("000",)


def test_a_dataset_is_checked_again_only_when_a_file_changed(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 4)
    checks: list[int] = []

    def opened() -> None:
        open_dataset("folder", root, "all", on_checked=lambda done, total: checks.append(total))

    opened()
    assert checks == [4] * 4
    opened()
    assert len(checks) == 4
    mask = root / "masks" / "000.png"
    good, status = mask.read_bytes(), mask.stat()
    mask.write_bytes(b"0" * len(good))
    os.utime(mask, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    for count in (4, 1):  # what was not good is read again: it may have been the disk's fault
        checks.clear()
        with pytest.raises(DatasetError, match="unreadable mask"):
            opened()
        assert checks == [count] * count
    mask.write_bytes(good)
    os.utime(mask, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    opened()
    checks.clear()
    opened()
    assert not checks


def test_a_folder_of_another_kind_is_recognised(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 2)
    with pytest.raises(DatasetError, match="is not laid out as celebamask .*no folder CelebA-HQ-img.*--dataset folder"):
        open_dataset("celebamask", root, "train")
    with pytest.raises(DatasetError, match="is not laid out as lapa"):
        open_dataset("lapa", root, "train")
    with pytest.raises(DatasetError, match="is not a folder"):
        open_dataset("helen", tmp_path / "none", "train")


def test_missing_parts_and_lists_of_celebamask(tmp_path: Path) -> None:
    root = write_celebamask(tmp_path / "celeb", {0: 0, 1: 0})
    (root / "CelebAMask-HQ-mask-anno" / "0" / "00001_skin.png").unlink()
    with pytest.raises(DatasetError, match=r"1 part missing: 1 \(00001_skin.png\)"):
        open_dataset("celebamask", root, "train")
    (root / "CelebA-HQ-img" / "0.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 picture missing: 0 \(0.jpg\)"):
        open_dataset("celebamask", root, "train")
    with pytest.raises(DatasetError, match="1 picture missing: 0"):
        open_dataset("celebamask", root, "all")
    (root / "list_eval_partition.txt").unlink()
    with pytest.raises(DatasetError, match="its splits are unknown"):
        open_dataset("celebamask", root, "train")


def test_landmarks_that_are_not_106_points(tmp_path: Path) -> None:
    root = write_lapa(tmp_path / "lapa", {"train": 2})
    path = root / "train" / "landmarks" / "0_0.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(DatasetError, match="1 landmarks that are not 106 points: 0_0"):
        open_dataset("lapa", root, "train")


def test_drawn_faces_are_the_same_every_time_and_left_is_the_subjects() -> None:
    first, again = (drawn_sample("a", 128, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first.image_bgr, again.image_bgr)
    assert np.array_equal(first.labels, again.labels)
    for part in ("eye", "brow"):
        left, right = (np.argwhere(first.labels == CELEBAMASK19.id_of(f"{side}_{part}")) for side in ("left", "right"))
        assert left[:, 1].mean() > right[:, 1].mean()
    assert landmarks_106(first).shape == (106, 2)


def test_class_pixels_are_counted_once_and_remembered(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write_folder(tmp_path / "faces", 3), "all")
    pixels = class_pixels(dataset)
    assert pixels.shape == (3, 19)
    assert pixels[1].tolist() == np.bincount(dataset[1].labels.ravel(), minlength=19).tolist()

    def unread(name: str) -> Sample:
        raise AssertionError(name)

    assert np.array_equal(class_pixels(replace(dataset, read=unread)), pixels)


def test_class_pixels_go_by_what_the_ids_of_the_masks_mean(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "faces", 3)
    mistaken, meant = (
        class_pixels(open_dataset("folder", root, "all", space).to_space(CELEBAMASK19))
        for space in (CELEBAMASK19_RAW, CELEBAMASK19)
    )
    assert not np.array_equal(mistaken, meant)
    labels = open_dataset("folder", root, "all")[0].labels
    assert meant[0].tolist() == np.bincount(labels.ravel(), minlength=19).tolist()


def test_a_dataset_is_kept_in_memory_only_while_there_is_room(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write_folder(tmp_path / "faces", 3), "all")
    kept = in_memory(dataset, 1 << 20)
    assert kept[0] is kept[0]
    assert in_memory(dataset, 1000) is dataset


def test_picture_and_mask_of_different_sizes_are_no_sample() -> None:
    with pytest.raises(SampleError, match="differ in size"):
        Sample("a", np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8))


def test_unknown_splits_and_kinds_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="choose one of train, val, test, all"):
        open_folder(tmp_path, "validation", CELEBAMASK19)
    with pytest.raises(DatasetError, match="choose one of celebamask, lapa, helen, folder, drawn"):
        open_dataset("coco", tmp_path, "train")
    with pytest.raises(DatasetError, match="needs a folder"):
        open_dataset("lapa", None, "train")
