"""Which pictures an epoch shows, in which order, and which process sees which of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Place = tuple[int, int, int]  # epoch, place in its order, index of the picture


def repeat_factors(shown: npt.NDArray[np.bool_], threshold: float) -> npt.NDArray[np.float64]:
    """(pictures, classes), which classes a picture shows -> how often a picture is to come in an epoch.

    A picture comes max over its classes of sqrt(threshold / share of pictures with the class) times, at least once.
    """
    share = np.maximum(shown.mean(axis=0), 1e-12)
    of_class = np.sqrt(threshold / share)
    factors: npt.NDArray[np.float64] = np.maximum(1.0, np.where(shown, of_class, 0.0).max(axis=1))
    return factors


def epoch_order(factors: npt.NDArray[np.float64], seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Indices of an epoch: each as often as its factor says on average, always the same number of them."""
    rng = np.random.default_rng([seed, epoch])
    ends = np.floor(np.cumsum(factors) + rng.random()).astype(np.int64)
    repeated = np.repeat(np.arange(len(factors)), np.diff(ends, prepend=0))
    length = int(np.floor(factors.sum() + 1e-9))
    order: npt.NDArray[np.int64] = rng.permutation(repeated)[:length]
    return order


@dataclass(frozen=True)
class Batches:
    """One process's batches, from a step on to the end of training; a step has `accumulate` of them.

    Over all processes a step shows the same pictures whatever their number. The last, incomplete step of an epoch is
    left out.
    """

    factors: npt.NDArray[np.float64]
    seed: int
    batch: int  # of all processes, one step
    epochs: int
    start_step: int = 0
    rank: int = 0
    processes: int = 1
    accumulate: int = 1

    @property
    def steps_per_epoch(self) -> int:
        return int(np.floor(self.factors.sum() + 1e-9)) // self.batch

    def __iter__(self) -> Iterator[list[Place]]:
        each = self.batch // (self.processes * self.accumulate)
        for epoch in range(self.start_step // self.steps_per_epoch, self.epochs):
            order = epoch_order(self.factors, self.seed, epoch)
            first = max(0, self.start_step - epoch * self.steps_per_epoch)
            for step in range(first, self.steps_per_epoch):
                for part in range(self.accumulate):
                    start = step * self.batch + (part * self.processes + self.rank) * each
                    yield [(epoch, place, int(order[place])) for place in range(start, start + each)]
