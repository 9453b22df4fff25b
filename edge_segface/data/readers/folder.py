"""Any labelled pictures: DIR/images and DIR/masks with the same stems, masks in a named label space.

The split is by DIR/train.txt, DIR/val.txt and DIR/test.txt (a stem a line) where they are, else drawn by a seed: a
tenth for validation, the rest for training.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from edge_segface.data.dataset import (
    Dataset,
    Sample,
    check_ids,
    check_split,
    not_laid_out,
    read_lines,
    read_mask,
    read_sample_image,
)
from edge_segface.errors import DatasetError
from edge_segface.image_io import SUFFIXES
from edge_segface.labels import LabelSpace

SPLITS = ("train", "val", "test", "all")
VAL_SHARE = 0.1
SPLIT_SEED = 7


def open_folder(root: Path, split: str, space: LabelSpace) -> Dataset:
    check_split(split, SPLITS)
    for needed in ("images", "masks"):
        if not (root / needed).is_dir():
            raise not_laid_out("folder", root, f"folder {needed}")
    pictures = _by_stem(root / "images")
    masks = _by_stem(root / "masks")
    names = chosen(root, split, sorted(pictures.keys() | masks.keys()))

    def files(name: str) -> Iterable[Path]:
        return (
            pictures.get(name, root / "images" / f"{name}.jpg"),
            masks.get(name, root / "masks" / f"{name}.png"),
        )

    def read(name: str) -> Sample:
        picture, mask = files(name)
        return Sample(name, read_sample_image(picture), check_ids(read_mask(mask), space))

    return Dataset("folder", root, split, space, tuple(names), read, files)


def chosen(root: Path, split: str, names: list[str]) -> list[str]:
    """The names of a split."""
    if split == "all":
        return names
    lists = {name: root / f"{name}.txt" for name in SPLITS[:3]}
    if any(path.is_file() for path in lists.values()):
        if not lists[split].is_file():
            raise DatasetError(f"{root} has split lists, but none for {split}", remedy=f"write {lists[split].name}")
        return [line.strip() for line in read_lines(lists[split]) if line.strip()]
    if split == "test":
        raise DatasetError(
            f"{root} has no test.txt, and a drawn split has no test part", remedy="take val, or write the lists"
        )
    drawn = list(names)
    random.Random(SPLIT_SEED).shuffle(drawn)  # noqa: S311
    count = max(1, round(VAL_SHARE * len(drawn)))
    return drawn[:count] if split == "val" else drawn[count:]


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
