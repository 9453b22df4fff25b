"""Batches for torch: what the augmentation makes for each place of an epoch."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from edge_segface.data.augment import Augmentation
from edge_segface.data.components import label_components
from edge_segface.data.sampling import Batches, Place
from edge_segface.errors import EdgeSegfaceError, SampleLostError, TrainingError
from edge_segface.signals import ignore_in_worker
from edge_segface.train.recipe import Consensus

Item = tuple[str, tuple[object, ...]]


@dataclass(frozen=True, eq=False)
class Batch:
    images: Tensor  # b s s 3, BGR bytes
    labels: Tensor  # b s s, bytes
    landmarks: Tensor | None  # b 5 2
    pieces: Tensor | None  # b s s, numbered in each picture from 1
    names: list[str]

    def to(self, device: torch.device) -> Batch:
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def each(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else change(tensor)

        return Batch(change(self.images), change(self.labels), each(self.landmarks), each(self.pieces), self.names)


class AugmentedDataset(TorchDataset["Item | EdgeSegfaceError"]):
    """Place of an epoch -> picture, labels, landmarks and pieces, the same whoever asks and whenever.

    What goes wrong with a picture is handed on like one: what a worker raises would arrive as the text of its trace.
    """

    def __init__(self, augment: Augmentation, names: Sequence[str], seed: int, consensus: Consensus) -> None:
        self.augment, self.names, self.seed, self.consensus = augment, names, seed, consensus

    def __getitem__(self, at: Place) -> Item | EdgeSegfaceError:
        epoch, place, index = at
        try:
            image, labels, landmarks = self.augment(index, np.random.default_rng([self.seed, epoch, place]))
        except EdgeSegfaceError as error:
            return error
        pieces = (
            label_components(labels, self.consensus.min_area, self.consensus.most) if self.consensus.weight else None
        )
        return self.names[index], (image, labels, landmarks, pieces)


def loader(places: AugmentedDataset, batches: Batches, workers: int, *, pin: bool) -> Iterator[Batch]:
    if workers and "fork" not in multiprocessing.get_all_start_methods():
        raise TrainingError("this system cannot start workers that share a dataset", remedy="say --workers 0")
    data: DataLoader[Any] = DataLoader(
        places,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_collated,
        worker_init_fn=_begin_worker,
        multiprocessing_context="fork" if workers else None,  # readers are closures: they cannot be sent
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
    )
    return _unbroken(iter(data))  # the workers start here, before anything else has threads


def _unbroken(data: Iterator[Batch | str]) -> Iterator[Batch]:
    for batch in data:
        if isinstance(batch, str):
            raise SampleLostError(batch, remedy="mend it, then go on with --resume")
        yield batch


def _collated(read: list[Item | EdgeSegfaceError]) -> Batch | str:
    """A batch, or the words of what went wrong."""
    for broken in read:
        if isinstance(broken, EdgeSegfaceError):
            return str(broken)
    items = [item for item in read if not isinstance(item, EdgeSegfaceError)]
    columns = list(zip(*(values for _, values in items), strict=True))
    images, labels, landmarks, pieces = (
        None if column[0] is None else torch.from_numpy(np.stack(column)) for column in columns
    )
    assert images is not None
    assert labels is not None
    return Batch(
        images,
        labels,
        None if landmarks is None else landmarks.float(),
        pieces,
        [name for name, _ in items],
    )


def _begin_worker(_: int) -> None:
    """One thread a worker. A Ctrl-C in a terminal reaches all processes; the one that trains answers it."""
    cv2.setNumThreads(0)
    ignore_in_worker()
