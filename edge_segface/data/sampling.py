"""The order of samples in an epoch, how often each is repeated, and which process gets which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Place = tuple[int, int, int]  # epoch, position in its order, index of the sample


def repeat_factors(present: npt.NDArray[np.bool_], threshold: float) -> npt.NDArray[np.float64]:
    """Return how often each sample is to appear in an epoch, given which classes it shows (samples, classes).

    The factor is the maximum over its classes of sqrt(threshold / share of samples with the class), at least 1.
    """
    share = np.maximum(present.mean(axis=0), 1e-12)
    class_factors = np.sqrt(threshold / share)
    factors: npt.NDArray[np.float64] = np.maximum(1.0, np.where(present, class_factors, 0.0).max(axis=1))
    return factors


def epoch_order(factors: npt.NDArray[np.float64], seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the sample indices of an epoch. Each appears as often as its factor on average; the length is constant."""
    rng = np.random.default_rng([seed, epoch])
    ends = np.floor(np.cumsum(factors) + rng.random()).astype(np.int64)
    repeated = np.repeat(np.arange(len(factors)), np.diff(ends, prepend=0))
    length = int(np.floor(factors.sum() + 1e-9))
    order: npt.NDArray[np.int64] = rng.permutation(repeated)[:length]
    return order


@dataclass(frozen=True)
class Batches:
    """Yields the batches of one process, `accumulate` per step, from `start_step` to the end of training.

    The samples of a step are the same for any number of processes. The last, incomplete step of an epoch is dropped.
    """

    factors: npt.NDArray[np.float64]
    seed: int
    batch: int  # samples of one step, over all processes
    epochs: int
    start_step: int = 0
    rank: int = 0
    processes: int = 1
    accumulate: int = 1

    @property
    def steps_per_epoch(self) -> int:
        return int(np.floor(self.factors.sum() + 1e-9)) // self.batch

    def __iter__(self) -> Iterator[list[Place]]:
        size = self.batch // (self.processes * self.accumulate)
        for epoch in range(self.start_step // self.steps_per_epoch, self.epochs):
            order = epoch_order(self.factors, self.seed, epoch)
            first = max(0, self.start_step - epoch * self.steps_per_epoch)
            for step in range(first, self.steps_per_epoch):
                for part in range(self.accumulate):
                    start = step * self.batch + (part * self.processes + self.rank) * size
                    yield [(epoch, position, int(order[position])) for position in range(start, start + size)]
