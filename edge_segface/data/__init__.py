"""Labelled datasets: readers of published layouts, samples, augmentation and synthetic images."""

from __future__ import annotations

from pathlib import Path

from edge_segface.data.check import check_samples
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
    skip_bad: bool = False,
    progress: Progress = NO_PROGRESS,
) -> Dataset:
    """Open one split of a dataset and check every sample of it.

    `kind` is celebamask, lapa, helen, folder, or drawn, which needs no root. `space` is the label space of the masks
    (default for a folder: celebamask19). With `skip_bad`, samples that cannot be used are skipped instead of raising.
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
    return check_samples(open_on_disk(kind, root, split, space), skip_bad=skip_bad, progress=progress)
