"""Readers of dataset layouts on disk, and what tells one layout from another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_segface.data.readers.celebamask import open_celebamask
from edge_segface.data.readers.folder import open_folder, space_of_folder
from edge_segface.data.readers.helen import open_helen
from edge_segface.data.readers.lapa import open_lapa
from edge_segface.data.sample import Dataset
from edge_segface.errors import DatasetError
from edge_segface.labels import CELEBAMASK19, HELEN11, LAPA11, LabelSpace


@dataclass(frozen=True)
class Reader:
    """A kind of dataset: its splits, the files and folders that its root must have, and the function that opens it."""

    open: Callable[[Path, str, LabelSpace], Dataset]
    splits: tuple[str, ...]
    required: tuple[str, ...]  # below the root; `{split}` stands for the name of the split
    marker: str  # a folder that this kind is recognised by
    space: LabelSpace | None = None  # None: the masks may be in any


READERS = {
    "celebamask": Reader(
        open_celebamask,
        splits=("train", "val", "test", "all"),
        required=("CelebA-HQ-img", "CelebAMask-HQ-mask-anno"),
        marker="CelebAMask-HQ-mask-anno",
        space=CELEBAMASK19,
    ),
    "folder": Reader(open_folder, splits=("train", "val", "test", "all"), required=("images", "masks"), marker="masks"),
    "lapa": Reader(
        open_lapa,
        splits=("train", "val", "test"),
        required=("{split}/images", "{split}/labels", "{split}/landmarks"),
        marker="train/landmarks",
        space=LAPA11,
    ),
    "helen": Reader(
        open_helen,
        splits=("train", "test"),
        required=("{split}", "{split}/landmarks.txt"),
        marker="train",
        space=HELEN11,
    ),
}


def open_on_disk(
    kind: str, root: Path, split: str, space: LabelSpace | None, *, usual: LabelSpace | None = None
) -> Dataset:
    """Open a dataset in the layout of its kind, unchecked.

    `space` is for kinds without a label space of their own. Without it, the masks tell theirs; `usual` is for masks
    that fit several spaces equally.
    """
    reader = READERS[kind]
    check_split(split, reader.splits)
    check_layout(kind, root, split)
    own = reader.space or space_of_folder(root, split, named=space, usual=usual)
    dataset = reader.open(root, split, own)
    check_space(dataset, space)
    return dataset


def check_split(split: str, known: tuple[str, ...]) -> None:
    """Raise unless the dataset has this split."""
    if split not in known:
        raise DatasetError(f"the dataset has no split {split!r}", remedy=f"choose one of {', '.join(known)}")


def check_space(dataset: Dataset, space: LabelSpace | None) -> None:
    """Raise if another label space was asked for than the dataset has."""
    if space is not None and space != dataset.space:
        raise DatasetError(
            f"{dataset.kind} is labelled in {dataset.space.name}", found=space.name, remedy="leave --labels out"
        )


def check_layout(kind: str, root: Path, split: str) -> None:
    """Raise unless the root has what this kind requires, naming the kind that it looks like."""
    remedy = "give the dataset's root with --data"
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder", remedy=remedy)
    for required in READERS[kind].required:
        path = root / required.format(split=split)
        is_file = bool(path.suffix)
        if path.is_file() if is_file else path.is_dir():
            continue
        similar = [other for other, reader in READERS.items() if other != kind and (root / reader.marker).is_dir()]
        if similar:
            remedy = f"it looks like {similar[0]}: try --dataset {similar[0]}"
        missing = f"no {'file' if is_file else 'folder'} {path.relative_to(root)}"
        raise DatasetError(f"{root} is not laid out as {kind}", found=missing, remedy=remedy)
