"""Labelled pictures, by whichever reader knows their layout."""

from __future__ import annotations

from pathlib import Path

from edge_segface.data.dataset import Dataset, OnChecked, Sample, checked
from edge_segface.data.readers.celebamask import open_celebamask
from edge_segface.data.readers.folder import open_folder
from edge_segface.data.readers.helen import open_helen
from edge_segface.data.readers.lapa import open_lapa
from edge_segface.data.synthetic.drawn import open_drawn
from edge_segface.errors import DatasetError
from edge_segface.labels import CELEBAMASK19, LabelSpace

__all__ = ["Dataset", "Sample", "open_dataset"]

PUBLISHED = {"celebamask": open_celebamask, "lapa": open_lapa, "helen": open_helen}


def open_dataset(
    kind: str,
    root: Path | None,
    split: str,
    space: LabelSpace | None = None,
    *,
    skip_bad: bool = False,
    on_checked: OnChecked | None = None,
) -> Dataset:
    """A split of a dataset, every sample of it read once. `space` is that of a folder's masks."""
    if kind == "drawn":
        return in_its_own_labels(open_drawn(split), space)
    if root is None:
        raise DatasetError(
            f"{kind} needs a folder", remedy="give it with --data, or try --dataset drawn, which needs none"
        )
    if kind == "folder":
        dataset = open_folder(root, split, space or CELEBAMASK19)
    elif kind in PUBLISHED:
        dataset = in_its_own_labels(PUBLISHED[kind](root, split), space)
    else:
        known = ", ".join((*PUBLISHED, "folder", "drawn"))
        raise DatasetError(f"no dataset is called {kind!r}", remedy=f"choose one of {known}")
    return checked(dataset, skip_bad=skip_bad, on_checked=on_checked)


def in_its_own_labels(dataset: Dataset, space: LabelSpace | None) -> Dataset:
    """A dataset that comes with a label space takes no other."""
    if space is not None and space != dataset.space:
        raise DatasetError(
            f"{dataset.kind} is labelled in {dataset.space.name}", found=space.name, remedy="leave --labels out"
        )
    return dataset
