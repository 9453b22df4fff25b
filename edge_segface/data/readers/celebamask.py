"""CelebAMask-HQ as it is published: 1024 px pictures, one 512 px PNG a part, and CelebA's partition.

Labels are painted as SegFace does: part by part in the order of its classes, later ones over earlier ones. So glasses
cover eyes, hats cover hair, and earrings and necklaces cover everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from edge_segface.data.dataset import (
    Dataset,
    Sample,
    SampleError,
    check_split,
    not_laid_out,
    read_lines,
    read_mask,
    read_sample_image,
)
from edge_segface.errors import DatasetError
from edge_segface.frames import UInt8Array
from edge_segface.labels import CELEBAMASK19

IMAGES, PARTS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
MAPPING, PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"
SPLITS = ("train", "val", "test", "all")
PER_FOLDER = 2000
SIZE = 512
MUST_HAVE = "skin"

# Bicubic (a = -0.5), antialiased, to half the size: taps at 3.5, 2.5, 1.5 and 0.5 pixels on both sides.
_HALF = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256


def open_celebamask(root: Path, split: str) -> Dataset:
    check_split(split, SPLITS)
    for needed in (IMAGES, PARTS):
        if not (root / needed).is_dir():
            raise not_laid_out("celebamask", root, f"folder {needed}")
    numbers = _all_numbers(root) if split == "all" else _split_numbers(root, SPLITS.index(split))
    names = tuple(sorted(numbers, key=int))

    def parts_of(name: str) -> dict[str, Path]:
        folder = root / PARTS / str(int(name) // PER_FOLDER)
        return {part: folder / f"{int(name):05d}_{part}.png" for part in CELEBAMASK19.names[1:]}

    def files(name: str) -> Iterable[Path]:
        return (root / IMAGES / f"{name}.jpg", *parts_of(name).values())

    def read(name: str) -> Sample:
        image = read_sample_image(root / IMAGES / f"{name}.jpg")
        labels = painted(parts_of(name))
        return Sample(name, half_size(image) if image.shape[0] == 2 * labels.shape[0] else image, labels)

    return Dataset("celebamask", root, split, CELEBAMASK19, names, read, files)


def painted(parts: dict[str, Path]) -> UInt8Array:
    """The masks of one picture, painted over each other in the order of the label space."""
    there = {part: path for part, path in parts.items() if path.is_file()}
    if MUST_HAVE not in there:
        raise SampleError("part missing", found=parts[MUST_HAVE].name)
    labels: UInt8Array | None = None
    for part, path in there.items():
        mask = read_mask(path)
        labels = np.zeros(mask.shape, dtype=np.uint8) if labels is None else labels
        if mask.shape != labels.shape:
            raise SampleError("parts of different sizes", found=path.name)
        labels[mask > 0] = CELEBAMASK19.names.index(part)
    assert labels is not None
    return labels


def half_size(image: UInt8Array) -> UInt8Array:
    """As Pillow's antialiased bicubic, with which SegFace was trained and scored, to within rounding."""
    across = cv2.sepFilter2D(image, -1, _HALF, np.ones(1), anchor=(3, 0), borderType=cv2.BORDER_REPLICATE)[:, ::2]
    down = cv2.sepFilter2D(across, -1, np.ones(1), _HALF, anchor=(0, 3), borderType=cv2.BORDER_REPLICATE)[::2]
    return np.ascontiguousarray(down)


def _all_numbers(root: Path) -> set[str]:
    pictures = {path.stem for path in (root / IMAGES).glob("*.jpg") if path.stem.isdigit()}
    return pictures | {str(int(path.name[:5])) for path in (root / PARTS).glob(f"*/?????_{MUST_HAVE}.png")}


def _split_numbers(root: Path, number: int) -> set[str]:
    """Ids in CelebA-HQ whose picture is in a part of CelebA's partition: 0 train, 1 val, 2 test."""
    partition = dict(_rows(root, PARTITION, columns=2))
    chosen = {file for file, part in partition.items() if part == str(number)}
    return {row[0] for row in _rows(root, MAPPING, columns=3) if row[-1] in chosen}


def _rows(root: Path, name: str, columns: int) -> list[list[str]]:
    path = root / name
    if not path.is_file():
        raise DatasetError(
            f"{root} has no {name}, so its splits are unknown", remedy="put it there, or take --split all"
        )
    rows = [line.split() for line in read_lines(path) if line.strip()]
    rows = [row for row in rows if row[0] != "idx"]
    if bad := [row for row in rows if len(row) != columns]:
        raise DatasetError(f"{path} is not as published", found=" ".join(bad[0]), remedy="download it again")
    return rows
