"""Which of many pictures calibrate a network best: first every class, the rare ones before all, then variety."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.frames import UInt8Array
from edge_segface.labels import LabelSpace

ENOUGH_PIXELS = 40  # of a class in a square of 256 px, for the square to show it; in proportion for other sizes
ENOUGH_PICTURES = 1 / 8  # of a set are to show each class, as far as there are so many
LOOK_SIZE = 16  # side of the small picture in a description


@dataclass(frozen=True, eq=False)
class Candidate:
    """A picture as far as choosing needs it: how much of each class it shows, and what it looks like."""

    name: str
    pixels: npt.NDArray[np.int64]  # classes
    look: npt.NDArray[np.float32]


def described(name: str, square_bgr: UInt8Array, labels: UInt8Array, space: LabelSpace) -> Candidate:
    """`look` holds light, contrast, colour, the size and place of the face, which way it looks, and a tiny picture."""
    small = cv2.resize(square_bgr, (LOOK_SIZE, LOOK_SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    grey = small.mean(axis=2)
    # Parts in one number each: share, and middle where there is one.
    places = [
        _share_and_middle(labels == space.id_of(part)) for part in ("skin", "hair", "nose") if part in space.parts
    ]
    eyes = _share_and_middle(np.isin(labels, [space.id_of("left_eye"), space.id_of("right_eye")]))
    nose = places[-1]
    turned = [nose[1] - eyes[1], nose[2] - eyes[2]] if nose[0] and eyes[0] else [0.0, 0.0]
    light = [4 * grey.mean(), 4 * grey.std(), *(2 * (small.mean(axis=(0, 1)) - grey.mean()))]
    look = np.concatenate(
        (light, np.ravel(places) * 2, np.array(turned) * 8, (grey - grey.mean()).ravel() / LOOK_SIZE * 4)
    )
    pixels = np.bincount(labels.ravel(), minlength=len(space))
    return Candidate(name, pixels, look.astype(np.float32))


def choose(
    candidates: Sequence[Candidate], count: int, space: LabelSpace, size: int, seed: int, strategy: str
) -> list[int]:
    """Indices of `count` candidates, all of them if there are no more."""
    rng = np.random.default_rng(seed)
    if strategy == "random" or count >= len(candidates):
        return sorted(int(index) for index in rng.permutation(len(candidates))[:count])
    pixels = np.stack([candidate.pixels for candidate in candidates])
    shows = pixels >= enough_pixels(size)
    chosen = covered(shows, count, space)
    return sorted(varied(np.stack([candidate.look for candidate in candidates]), chosen, count, rng))


def enough_pixels(size: int) -> float:
    return ENOUGH_PIXELS * (size / 256) ** 2


def covered(shows: npt.NDArray[np.bool_], count: int, space: LabelSpace) -> list[int]:
    """(candidates, classes) -> as few pictures as a greedy choice needs for every class to be shown often enough.

    A picture is worth what it shows of classes still wanted; a class that few candidates show is worth more.
    """
    often = shows.sum(axis=0)
    wanted = np.minimum(often, max(1, round(ENOUGH_PICTURES * count)))
    wanted[0] = 0
    worth = np.where(often > 0, 1 / np.maximum(often, 1), 0.0)
    worth[list(space.long_tail)] *= len(space)
    chosen: list[int] = []
    left = np.ones(len(shows), dtype=bool)
    while wanted.any() and len(chosen) < count:
        value = (shows[:, wanted > 0] * worth[wanted > 0]).sum(axis=1) * left
        best = int(value.argmax())
        if not value[best]:
            break
        chosen.append(best)
        left[best] = False
        wanted = np.maximum(wanted - shows[best], 0)
    return chosen


def varied(looks: npt.NDArray[np.float32], chosen: list[int], count: int, rng: np.random.Generator) -> list[int]:
    """Adds pictures least like any chosen so far, and every other time one by chance, as extremes alone mislead."""
    chosen = list(chosen) or [int(rng.integers(len(looks)))]
    distance = np.full(len(looks), np.inf)
    for index in chosen:
        distance = np.minimum(distance, np.square(looks - looks[index]).sum(axis=1))
    while len(chosen) < count:
        left = np.setdiff1d(np.arange(len(looks)), chosen)
        added = int(rng.choice(left)) if len(chosen) % 2 else int(left[distance[left].argmax()])
        chosen.append(added)
        distance = np.minimum(distance, np.square(looks - looks[added]).sum(axis=1))
    return chosen


def _share_and_middle(mask: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Of the picture; the middle as -0.5 to 0.5 from its own middle."""
    if not mask.any():
        return 0.0, 0.0, 0.0
    y, x = np.nonzero(mask)
    height, width = mask.shape
    return float(mask.mean()), float(x.mean() / width - 0.5), float(y.mean() / height - 0.5)
