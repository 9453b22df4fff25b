"""Which label space masks are in, and whether left and right fit the image, judged by where the ids lie.

Names cannot be trusted: the same nineteen parts are stored in several orders, and a mirrored image keeps its ids unless
someone exchanged left and right. But a face is arranged in one way: brows above eyes above the nose above the lips, the
skin largest, the neck below. Each space is scored by the share of such rules that a mask obeys if its ids are read in
that space.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_segface.errors import DatasetError
from edge_segface.frames import UInt8Array
from edge_segface.labels import CELEBAMASK19, HELEN11, LABEL_SPACES, LAPA11, LabelSpace

SAMPLED = 64  # masks that decide about a folder
SIDE = 256  # masks are thinned out to about this side: enough for centres
PLAUSIBLE = 0.8  # share of the rules that a mask obeys in its own space
MARGIN = 0.1  # by which a space must fit one mask better than those of another order
MEAN_MARGIN = 0.05  # the same for all masks of a folder together
MIN_CLASSES = 4  # masks with fewer, background apart, say nothing about their order
SHOWN_NAMES = 3
FOREIGN_REMEDY = "change their ids to one of our orders, listed in the training guide"

# A common order that is none of ours, known here so that an error can name it.
BISENET19 = LabelSpace(
    "bisenet19 (the order of BiSeNet, as in zllrunning/face-parsing.PyTorch)",
    tuple(
        CELEBAMASK19.classes[CELEBAMASK19.id_of(part)]
        for part in (
            "background", "skin", "left_brow", "right_brow", "left_eye", "right_eye", "glasses", "left_ear",
            "right_ear", "earring", "nose", "inner_mouth", "upper_lip", "lower_lip", "neck", "necklace", "cloth",
            "hair", "hat",
        )
    ),
)  # fmt: skip
# One of each order: helen11 has that of lapa11.
ORDERS = (*(space for space in LABEL_SPACES.values() if space != HELEN11), BISENET19)

CORE_PARTS = (
    "skin", "nose", "left_brow", "right_brow", "left_eye", "right_eye", "upper_lip", "lower_lip", "hair",
)  # fmt: skip
BROWS, EYES, LIPS = ("left_brow", "right_brow"), ("left_eye", "right_eye"), ("upper_lip", "lower_lip")
ABOVE = (
    *((brow, below) for brow in BROWS for below in ("nose", *LIPS)),
    ("left_brow", "left_eye"),
    ("right_brow", "right_eye"),
    *((eye, below) for eye in EYES for below in ("nose", *LIPS)),
    *(("nose", lip) for lip in LIPS),
    ("upper_lip", "lower_lip"),
    ("upper_lip", "inner_mouth"),
    ("inner_mouth", "lower_lip"),
    *((part, "neck") for part in ("skin", "nose", *EYES, *LIPS)),
    *((part, "cloth") for part in ("skin", "nose", "neck", *LIPS)),
    *(("hat", part) for part in ("nose", *EYES, *LIPS)),
    ("hair", "cloth"),
    ("glasses", "lower_lip"),
    ("left_brow", "earring"),
    ("right_brow", "earring"),
    ("lower_lip", "necklace"),
)
LARGER = (
    *(("skin", part) for part in ("nose", *BROWS, *EYES, *LIPS, "inner_mouth", "left_ear", "right_ear", "earring")),
    *(("hair", part) for part in (*BROWS, *EYES, *LIPS)),
    *(("nose", part) for part in (*BROWS, *EYES, *LIPS)),
    *((large, small) for large in ("neck", "cloth", "hat") for small in (*BROWS, *EYES, *LIPS)),
)
PAIRS = (("left_brow", "right_brow"), ("left_eye", "right_eye"), ("left_ear", "right_ear"))
EITHER_SIDE = PAIRS[:2]  # of the nose
OUTSIDE = (("left_ear", "left_eye"), ("right_ear", "right_eye"))  # farther from the nose than


@dataclass(frozen=True, eq=False)
class IdPlaces:
    """The ids of a mask: the area of each in pixels, and its centre in pixels (n, 2), x and y."""

    areas: npt.NDArray[np.float64]
    centres_xy: npt.NDArray[np.float64]

    @classmethod
    def of(cls, labels: UInt8Array) -> IdPlaces:
        step = max(1, min(labels.shape) // SIDE)
        thinned = labels[::step, ::step]
        height, width = thinned.shape
        ids = thinned.ravel()
        areas = np.bincount(ids, minlength=256).astype(float)
        x = np.bincount(ids, np.tile(np.arange(width, dtype=float), height), minlength=256)
        y = np.bincount(ids, np.repeat(np.arange(height, dtype=float), width), minlength=256)
        return cls(areas, np.stack([x, y], axis=1) / np.maximum(areas, 1)[:, None])

    @property
    def present(self) -> npt.NDArray[np.intp]:
        """Ids that occur, without the background's."""
        return np.flatnonzero(self.areas[1:]) + 1

    def parts(self, space: LabelSpace) -> dict[str, int]:
        """Return part -> id for those that occur."""
        return {space.parts[index]: int(index) for index in self.present if index < len(space)}


@dataclass(frozen=True)
class SpaceScores:
    """How well the ids of one mask fit each order of parts, 0..1."""

    scores: Mapping[LabelSpace, float]

    @property
    def best(self) -> LabelSpace:
        return max(self.scores, key=lambda space: self.scores[space])

    def clear_best(self) -> LabelSpace | None:
        """The space that fits well, and clearly better than every other order; None if there is no such space."""
        best = self.best
        rival = max(score for space, score in self.scores.items() if space != best)
        return best if self.scores[best] >= PLAUSIBLE and self.scores[best] - rival >= MARGIN else None

    def contradicts(self, space: LabelSpace) -> LabelSpace | None:
        """The space that fits well and far better than this one; None if there is no such space."""
        best = self.clear_best()
        return None if best is None or best == order_of(space) else best


def order_of(space: LabelSpace) -> LabelSpace:
    """Return the space that stands for all of the same order."""
    return LAPA11 if space == HELEN11 else space


def fit_spaces(places: IdPlaces) -> SpaceScores | None:
    """Score every order of parts; None if the mask has too few classes to tell."""
    if len(places.present) < MIN_CLASSES:
        return None
    return SpaceScores({space: plausibility(places, space) for space in ORDERS})


def plausibility(places: IdPlaces, space: LabelSpace) -> float:
    """Return the share of the rules of a face that the ids obey if they are read in this space; 0 for ids beyond it."""
    if places.present.max(initial=0) >= len(space):
        return 0.0
    ids = places.parts(space)
    y, areas = places.centres_xy[:, 1], places.areas
    obeyed = [part in ids for part in CORE_PARTS]
    obeyed += [y[ids[a]] < y[ids[b]] for a, b in ABOVE if a in ids and b in ids]
    obeyed += [areas[ids[a]] > areas[ids[b]] for a, b in LARGER if a in ids and b in ids]
    if "skin" in ids and "nose" in ids:
        offset = places.centres_xy[ids["nose"]] - places.centres_xy[ids["skin"]]
        obeyed.append(bool(np.hypot(*offset) < 0.5 * np.sqrt(areas[ids["skin"]])))
    if "nose" in ids:
        x = places.centres_xy[:, 0] - places.centres_xy[ids["nose"], 0]
        obeyed += [x[ids[a]] * x[ids[b]] < 0 for a, b in EITHER_SIDE if a in ids and b in ids]
        obeyed += [abs(x[ids[a]]) > abs(x[ids[b]]) for a, b in OUTSIDE if a in ids and b in ids]
    return float(np.mean(obeyed))


def sides_contradict(places: IdPlaces, space: LabelSpace) -> bool:
    """Whether left parts lie where the right ones belong: the subject's left is on the right of an upright image.

    Turned faces are judged in their own frame. A mask in which no pair of sides is complete never contradicts.
    """
    ids = places.parts(space)

    def centre(*parts: str) -> npt.NDArray[np.float64] | None:
        known = [places.centres_xy[ids[part]] for part in parts if part in ids]
        return np.mean(known, axis=0) if known else None

    top, bottom = centre(*BROWS, *EYES), centre("nose", *LIPS)
    up = np.array([0.0, -1.0]) if top is None or bottom is None else top - bottom
    to_their_left = np.array([-up[1], up[0]])
    offsets = [
        (places.centres_xy[ids[left]] - places.centres_xy[ids[right]]) @ to_their_left
        for left, right in PAIRS
        if left in ids and right in ids
    ]
    return bool(offsets) and sum(np.sign(offsets)) < 0


def choose_space(
    masks: Mapping[str, UInt8Array], root: Path, *, named: LabelSpace | None, usual: LabelSpace | None = None
) -> LabelSpace:
    """Return the label space of a folder's masks: the named one unless they contradict it, else the one they are in.

    `masks` are a sample of the folder, by name. `usual` decides between spaces of the same order. Raises if the masks
    are in another space than the named, or if none is named and they are in several or do not tell theirs.
    """
    fits = {name: fit for name, mask in masks.items() if (fit := fit_spaces(IdPlaces.of(mask))) is not None}
    clear = {name: best for name, fit in fits.items() if (best := fit.clear_best()) is not None}
    groups = names_by_space(clear)
    if len(groups) > 1 and (named is None or order_of(named) not in groups):
        raise mixed_spaces(root, groups)
    found = _best_of_all(fits, usual)
    if named is not None:
        if found is not None and _mean_scores(fits)[found] - _mean_scores(fits)[order_of(named)] >= MARGIN:
            raise _contradicted(root, named, found, fits)
        return named
    if found is None or found == BISENET19:
        raise _undecided(root, found, masks, fits)
    return usual if usual is not None and order_of(usual) == found else found


def names_by_space(spaces: Mapping[str, LabelSpace]) -> dict[LabelSpace, list[str]]:
    """Return the names of the masks in each space, the most frequent space first."""
    groups: defaultdict[LabelSpace, list[str]] = defaultdict(list)
    for name, space in spaces.items():
        groups[space].append(name)
    return {space: groups[space] for space, _ in Counter(spaces.values()).most_common()}


def mixed_spaces(root: Path, groups: Mapping[LabelSpace, Sequence[str]]) -> DatasetError:
    """The error for a folder whose masks are in several label spaces."""
    return DatasetError(
        f"the masks of {root} are in several label spaces",
        found="; ".join(f"{len(names)} fit {title(space)}: {shortened(names)}" for space, names in groups.items()),
        remedy="put each space into a folder of its own, or name one with --labels and add --skip-bad",
    )


def shortened(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more


def _best_of_all(fits: Mapping[str, SpaceScores], usual: LabelSpace | None) -> LabelSpace | None:
    """Return the space that fits all masks together well and better than every other; the usual one needs no lead."""
    scores = _mean_scores(fits)
    if not scores:
        return None
    best, second = sorted(scores, key=lambda space: -scores[space])[:2]
    lead = 0.0 if usual is not None and order_of(usual) == best else MEAN_MARGIN
    return best if scores[best] >= PLAUSIBLE and scores[best] - scores[second] >= lead else None


def _contradicted(root: Path, named: LabelSpace, found: LabelSpace, fits: Mapping[str, SpaceScores]) -> DatasetError:
    scores = _mean_scores(fits)
    return DatasetError(
        f"the masks of {root} are not in {named.name}",
        found=f"{len(fits)} masks obey {100 * scores[found]:.0f} % of the rules of a face as {title(found)}, "
        f"{100 * scores[order_of(named)]:.0f} % as {named.name}",
        remedy=FOREIGN_REMEDY if found == BISENET19 else f"give --labels {title(found)}, or leave --labels out",
    )


def _undecided(
    root: Path, found: LabelSpace | None, masks: Mapping[str, UInt8Array], fits: Mapping[str, SpaceScores]
) -> DatasetError:
    highest = max((int(mask.max(initial=0)) for mask in masks.values()), default=0)
    beyond = highest >= max(map(len, ORDERS))
    if found is not None or beyond:
        return DatasetError(
            f"the masks of {root} are in none of our label spaces",
            found=found.name if found is not None else f"ids up to {highest}",
            remedy=FOREIGN_REMEDY,
        )
    scores = _mean_scores(fits)
    shares = ", ".join(f"{title(space)} {100 * score:.0f} %" for space, score in scores.items() if space != BISENET19)
    return DatasetError(
        f"the masks of {root} do not tell their label space",
        found=f"rules of a face obeyed as {shares}" if scores else "too few classes",
        remedy=f"name it with --labels: {', '.join(LABEL_SPACES)}",
    )


def title(space: LabelSpace) -> str:
    """Return the names of all spaces of the same order."""
    return f"{space.name} or {HELEN11.name}" if space == LAPA11 else space.name


def _mean_scores(fits: Mapping[str, SpaceScores]) -> dict[LabelSpace, float]:
    return {space: float(np.mean([fit.scores[space] for fit in fits.values()])) for space in ORDERS} if fits else {}
