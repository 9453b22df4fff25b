"""Labelled images of your own: DIR/images and DIR/masks with the same stems, masks in any label space.

Splits are read from DIR/train.txt, DIR/val.txt and DIR/test.txt (one stem per line) if any of them exists. Otherwise a
seeded shuffle assigns a tenth to validation and the rest to training.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from edge_segface.data.readers.files import check_ids, read_lines, read_mask, read_sample_image
from edge_segface.data.sample import Dataset, Sample
from edge_segface.errors import DatasetError
from edge_segface.image_io import SUFFIXES
from edge_segface.labels import LabelSpace

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
