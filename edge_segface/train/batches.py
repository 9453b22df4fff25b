"""Batches for training: augmented samples, collated in worker processes."""

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

Item = tuple[str, tuple[object, ...]]  # name; image, labels, landmarks, components


@dataclass(frozen=True, eq=False)
class Batch:
    """Augmented samples as tensors. Shapes: b batch, s side of the crop."""

    images: Tensor  # b s s 3, BGR bytes
    labels: Tensor  # b s s, bytes
    landmarks: Tensor | None  # b 5 2
    components: Tensor | None  # b s s, numbered from 1 in each image
    names: list[str]

    def to(self, device: torch.device) -> Batch:
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        landmarks = None if self.landmarks is None else change(self.landmarks)
        components = None if self.components is None else change(self.components)
        return Batch(change(self.images), change(self.labels), landmarks, components, self.names)


class AugmentedDataset(TorchDataset["Item | EdgeSegfaceError"]):
    """Maps a place in an epoch to its augmented sample, which is the same in any process and at any time.

    Errors are returned, not raised: torch would turn what a worker raises into the text of its traceback.
    """

    def __init__(self, augment: Augmentation, names: Sequence[str], seed: int, consensus: Consensus) -> None:
        self.augment, self.names, self.seed, self.consensus = augment, names, seed, consensus

    def __getitem__(self, at: Place) -> Item | EdgeSegfaceError:
        epoch, place, index = at
        try:
            image, labels, landmarks = self.augment(index, np.random.default_rng([self.seed, epoch, place]))
        except EdgeSegfaceError as error:
            return error
        options, components = self.consensus, None
        if options.weight:
            components = label_components(labels, options.min_area, options.most)
        return self.names[index], (image, labels, landmarks, components)


def load_batches(samples: AugmentedDataset, batches: Batches, workers: int, *, pin: bool) -> Iterator[Batch]:
    """Start the workers and return an iterator over their batches. It raises SampleLostError for an unreadable one."""
    if workers and "fork" not in multiprocessing.get_all_start_methods():
        raise TrainingError("worker processes that share a dataset need fork, as on Linux", remedy="add --workers 0")
    loader: DataLoader[Any] = DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_start_worker,
        multiprocessing_context="fork" if workers else None,  # readers are closures, which cannot be pickled
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
    )
    return _raise_errors(iter(loader))  # iter() forks the workers, before this process starts other threads


def _raise_errors(batches: Iterator[Batch | str]) -> Iterator[Batch]:
    for batch in batches:
        if isinstance(batch, str):
            raise SampleLostError(batch, remedy="restore the file, then continue with --resume")
        yield batch


def _collate(items: list[Item | EdgeSegfaceError]) -> Batch | str:
    """Stack samples to a batch, or return the text of the first error."""
    for item in items:
        if isinstance(item, EdgeSegfaceError):
            return str(item)
    samples = [item for item in items if not isinstance(item, EdgeSegfaceError)]
    columns = zip(*(arrays for _, arrays in samples), strict=True)
    images, labels, landmarks, components = (
        None if column[0] is None else torch.from_numpy(np.stack(column)) for column in columns
    )
    assert images is not None
    assert labels is not None
    landmarks = None if landmarks is None else landmarks.float()
    return Batch(images, labels, landmarks, components, [name for name, _ in samples])


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)  # one thread a worker
    ignore_in_worker()
