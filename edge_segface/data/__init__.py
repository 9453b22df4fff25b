"""Labelled datasets: readers of published layouts, samples, augmentation and synthetic images."""

from __future__ import annotations

from pathlib import Path

from edge_segface.data.check import check_samples
from edge_segface.data.label_check import title
from edge_segface.data.readers import READERS, check_space, open_on_disk
from edge_segface.data.sample import Dataset, Sample
from edge_segface.data.synthetic.drawn import open_drawn
from edge_segface.errors import DatasetError
from edge_segface.labels import LabelSpace
from edge_segface.progress import NO_PROGRESS, Progress

__all__ = ["Dataset", "Sample", "open_dataset"]


def open_dataset(
    kind: str,
    root: Path | None,
    split: str,
    space: LabelSpace | None = None,
    *,
    assumed: bool = False,
    skip_bad: bool = False,
    progress: Progress = NO_PROGRESS,
) -> Dataset:
    """Open one split of a dataset and check every sample of it, and its labels.

    `kind` is celebamask, lapa, helen, folder, or drawn, which needs no root. `space` is the label space of a folder's
    masks; without it, or if it is only `assumed`, the masks tell theirs, and `progress` notes which one. With
    `skip_bad`, samples that cannot be used are skipped instead of raising.
    """
    if kind == "drawn":
        dataset = open_drawn(split)
        check_space(dataset, space)
        return dataset
    if kind not in READERS:
        raise DatasetError(f"no dataset is called {kind!r}", remedy=f"choose one of {', '.join((*READERS, 'drawn'))}")
    if root is None:
        raise DatasetError(
            f"{kind} needs a folder", remedy="give it with --data, or try --dataset drawn, which needs none"
        )
    named = None if assumed else space
    dataset = open_on_disk(kind, root, split, named, usual=space)
    if kind == "folder" and named is None:
        progress.note(f"label space of the masks in {root}: {title(dataset.space)}, detected by where their ids lie")
    return check_samples(dataset, skip_bad=skip_bad, progress=progress)
