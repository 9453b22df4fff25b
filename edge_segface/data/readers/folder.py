"""Labelled images of your own: DIR/images and DIR/masks with the same stems, masks in any label space.

Splits are read from DIR/train.txt, DIR/val.txt and DIR/test.txt (one stem per line) if any of them exists. Otherwise a
seeded shuffle assigns a tenth to validation and the rest to training.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edge_segface.data.label_check import SAMPLED, choose_space
from edge_segface.data.readers.files import check_ids, read_lines, read_mask, read_sample_image
from edge_segface.data.sample import Dataset, Sample, SampleError
from edge_segface.errors import DatasetError
from edge_segface.frames import UInt8Array
from edge_segface.image_io import SUFFIXES
from edge_segface.labels import CELEBAMASK19, LabelSpace

LISTED_SPLITS = ("train", "val", "test")
VAL_SHARE = 0.1
SPLIT_SEED = 7


def open_folder(root: Path, split: str, space: LabelSpace) -> Dataset:
    """Open a folder whose masks are in the given label space."""
    images = _by_stem(root / "images")
    masks = _by_stem(root / "masks")
    names = split_names(root, split, sorted(images.keys() | masks.keys()))

    def files(name: str) -> Iterable[Path]:
        return (
            images.get(name, root / "images" / f"{name}.jpg"),
            masks.get(name, root / "masks" / f"{name}.png"),
        )

    def read(name: str) -> Sample:
        image, mask = files(name)
        return Sample(name, read_sample_image(image), check_ids(read_mask(mask), space))

    return Dataset("folder", root, split, space, tuple(names), read, files)


def space_of_folder(root: Path, split: str, *, named: LabelSpace | None, usual: LabelSpace | None) -> LabelSpace:
    """Return the label space of the masks, told by a sample of them; raise if they contradict the named one.

    `usual` is taken where several spaces fit equally, and where no mask can be read.
    """
    masks = _by_stem(root / "masks")
    names = [name for name in split_names(root, split, sorted(masks)) if name in masks]
    picked = [names[index] for index in np.linspace(0, len(names) - 1, min(SAMPLED, len(names)), dtype=int)]
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda name: _mask_or_none(masks[name]), picked)
        sample = {name: mask for name, mask in zip(picked, read, strict=True) if mask is not None}
    if not sample:
        return named or usual or CELEBAMASK19  # checking the samples then says what is wrong with them
    return choose_space(sample, root, named=named, usual=usual)


def _mask_or_none(path: Path) -> UInt8Array | None:
    try:
        return read_mask(path)
    except SampleError:  # reported when all samples are checked
        return None


def split_names(root: Path, split: str, names: list[str]) -> list[str]:
    """Return those of the names that belong to the split."""
    if split == "all":
        return names
    lists = {name: root / f"{name}.txt" for name in LISTED_SPLITS}
    if any(path.is_file() for path in lists.values()):
        if not lists[split].is_file():
            raise DatasetError(f"{root} has split lists, but none for {split}", remedy=f"write {lists[split].name}")
        return [line.strip() for line in read_lines(lists[split]) if line.strip()]
    if split == "test":
        raise DatasetError(
            f"{root} has no test.txt, and a random split has no test part", remedy="use --split val, or write the lists"
        )
    shuffled = list(names)
    random.Random(SPLIT_SEED).shuffle(shuffled)  # noqa: S311
    count = max(1, round(VAL_SHARE * len(shuffled)))
    return shuffled[:count] if split == "val" else shuffled[count:]


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
