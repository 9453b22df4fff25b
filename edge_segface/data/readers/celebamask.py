"""CelebAMask-HQ as published: 1024 px images, one 512 px PNG per part, and CelebA's partition into splits.

Labels are painted as SegFace does: part by part in the order of its classes, later ones over earlier ones. So glasses
cover eyes, hats cover hair, and earrings and necklaces cover everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from edge_segface.data.readers.files import read_lines, read_mask, read_sample_image
from edge_segface.data.sample import Dataset, Sample, SampleError
from edge_segface.errors import DatasetError
from edge_segface.frames import UInt8Array
from edge_segface.labels import LabelSpace

IMAGES, MASKS = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno"
MAPPING, PARTITION = "CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt"
PARTITION_IDS = {"train": "0", "val": "1", "test": "2"}  # in list_eval_partition.txt
MASKS_PER_FOLDER = 2000
REQUIRED_PART = "skin"

# Antialiased bicubic (a = -0.5) at half the size: taps at 3.5, 2.5, 1.5 and 0.5 pixels on both sides.
_HALF = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256


def open_celebamask(root: Path, split: str, space: LabelSpace) -> Dataset:
    """Open the images of one part of CelebA's partition, or all of them."""
    ids = _all_ids(root) if split == "all" else _split_ids(root, split)
    names = tuple(sorted(ids, key=int))

    def part_masks(name: str) -> dict[str, Path]:
        folder = root / MASKS / str(int(name) // MASKS_PER_FOLDER)
        return {part: folder / f"{int(name):05d}_{part}.png" for part in space.names[1:]}

    def files(name: str) -> Iterable[Path]:
        return (root / IMAGES / f"{name}.jpg", *part_masks(name).values())

    def read(name: str) -> Sample:
        image = read_sample_image(root / IMAGES / f"{name}.jpg")
        labels = paint_parts(part_masks(name), space)
        return Sample(name, halve(image) if image.shape[0] == 2 * labels.shape[0] else image, labels)

    return Dataset("celebamask", root, split, space, names, read, files)


def paint_parts(masks: dict[str, Path], space: LabelSpace) -> UInt8Array:
    """Paint the masks of one image over each other, in the order of the label space."""
    present = {part: path for part, path in masks.items() if path.is_file()}
    if REQUIRED_PART not in present:
        raise SampleError("part missing", found=masks[REQUIRED_PART].name)
    labels: UInt8Array | None = None
    for part, path in present.items():
        mask = read_mask(path)
        labels = np.zeros(mask.shape, dtype=np.uint8) if labels is None else labels
        if mask.shape != labels.shape:
            raise SampleError("parts of different sizes", found=path.name)
        labels[mask > 0] = space.names.index(part)
    assert labels is not None
    return labels


def halve(image: UInt8Array) -> UInt8Array:
    """Resize to half, equal within rounding to Pillow's bicubic, which SegFace was trained and scored with."""
    across = cv2.sepFilter2D(image, -1, _HALF, np.ones(1), anchor=(3, 0), borderType=cv2.BORDER_REPLICATE)[:, ::2]
    down = cv2.sepFilter2D(across, -1, np.ones(1), _HALF, anchor=(0, 3), borderType=cv2.BORDER_REPLICATE)[::2]
    return np.ascontiguousarray(down)


def _all_ids(root: Path) -> set[str]:
    images = {path.stem for path in (root / IMAGES).glob("*.jpg") if path.stem.isdigit()}
    return images | {str(int(path.name[:5])) for path in (root / MASKS).glob(f"*/?????_{REQUIRED_PART}.png")}


def _split_ids(root: Path, split: str) -> set[str]:
    """Return the ids in CelebA-HQ of the images that CelebA's partition assigns to the split."""
    partition = dict(_read_table(root, PARTITION, columns=2))
    files = {file for file, part in partition.items() if part == PARTITION_IDS[split]}
    return {row[0] for row in _read_table(root, MAPPING, columns=3) if row[-1] in files}


def _read_table(root: Path, name: str, columns: int) -> list[list[str]]:
    path = root / name
    if not path.is_file():
        raise DatasetError(
            f"{root} has no {name}, which defines its splits", remedy="copy it there, or use --split all"
        )
    rows = [line.split() for line in read_lines(path) if line.strip()]
    rows = [row for row in rows if row[0] != "idx"]
    if bad := [row for row in rows if len(row) != columns]:
        raise DatasetError(f"{path} is not as published", found=" ".join(bad[0]), remedy="download it again")
    return rows
