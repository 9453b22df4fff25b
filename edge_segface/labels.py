"""Label spaces as values: which id means which part.

Every class has a name, its dataset's own short one, and a part, the same word in every space. In parts, `left` is the
subject's own left, which is on the right of a frontal image. CelebAMask-HQ names sides in this way too; LaPa and Helen
name them as the viewer sees them, so their `lb` is the part `right_brow`. Remapping goes by parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from edge_segface.errors import LabelError, did_you_mean

# Parts that touch differ clearly, also for colour-blind eyes; tests/test_labels.py simulates them.
PART_COLOURS_RGB: dict[str, tuple[int, int, int]] = {
    "background": (0, 0, 0),
    "neck": (141, 66, 18),
    "skin": (192, 165, 102),
    "cloth": (69, 96, 130),
    "left_ear": (255, 165, 12),
    "right_ear": (214, 104, 24),
    "left_brow": (187, 94, 178),
    "right_brow": (98, 49, 162),
    "left_eye": (108, 185, 255),
    "right_eye": (21, 84, 251),
    "nose": (151, 229, 70),
    "inner_mouth": (85, 6, 54),
    "lower_lip": (230, 114, 158),
    "upper_lip": (192, 21, 74),
    "hair": (85, 49, 34),
    "glasses": (0, 255, 179),
    "hat": (255, 255, 108),
    "earring": (226, 72, 255),
    "necklace": (203, 255, 12),
}

# Names for several parts at once; a space that lacks some of them leaves those out.
PART_GROUPS: dict[str, tuple[str, ...]] = {
    "brows": ("left_brow", "right_brow"),
    "eyes": ("left_eye", "right_eye"),
    "ears": ("left_ear", "right_ear"),
    "lips": ("upper_lip", "lower_lip"),
    # Ears are no part of the face: LaPa counts them as skin, and hair often hides them.
    "face": (
        "skin", "left_brow", "right_brow", "left_eye", "right_eye", "nose", "inner_mouth", "lower_lip", "upper_lip",
        "glasses",
    ),
    "person": tuple(part for part in PART_COLOURS_RGB if part != "background"),
}  # fmt: skip

# The part that takes over the pixels of a part that a space lacks.
BROADER_PART = {"left_ear": "skin", "right_ear": "skin", "glasses": "skin"}


@dataclass(frozen=True)
class LabelSpace:
    """An ordered set of classes; the id of a class is its position.

    Examples:
        >>> space = label_space("celebamask19")
        >>> space.id_of("hair"), space.id_of("left_eye")
        (14, 8)
        >>> space.ids_of("lips")
        (12, 13)
        >>> space.titles[14]
        'hair'
    """

    name: str
    classes: tuple[tuple[str, str], ...]  # (name in its dataset, part)
    long_tail_parts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = [part for _, part in self.classes if part not in PART_COLOURS_RGB]
        if unknown or len(set(self.parts)) != len(self.parts) or len(set(self.names)) != len(self.names):
            raise LabelError(f"label space {self.name} must have known parts and no class twice", found=self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.classes)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        return tuple(part for _, part in self.classes)

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """Names for people to read."""
        return tuple(part.replace("_", " ") for part in self.parts)

    @cached_property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of ids to swap when an image is mirrored."""
        return tuple(
            (left, self.parts.index(part.replace("left_", "right_")))
            for left, part in enumerate(self.parts)
            if part.startswith("left_")
        )

    @cached_property
    def flip_table(self) -> npt.NDArray[np.uint8]:
        table = np.arange(256, dtype=np.uint8)
        for left, right in self.flip_pairs:
            table[left], table[right] = right, left
        return table

    @cached_property
    def palette_rgb(self) -> npt.NDArray[np.uint8]:
        """The colour of each class, (n, 3)."""
        return np.array([PART_COLOURS_RGB[part] for part in self.parts], dtype=np.uint8)

    @cached_property
    def long_tail(self) -> tuple[int, ...]:
        """Ids of the rare classes."""
        return tuple(index for index, part in enumerate(self.parts) if part in self.long_tail_parts)

    def id_of(self, part: str) -> int:
        """Return the id of a part, such as `left_eye`, or of a class by its dataset's name, such as `l_eye`."""
        for words in (self.parts, self.names):
            if part in words:
                return words.index(part)
        near = did_you_mean(part, (*self.parts, *PART_GROUPS, *self.names)).strip()
        raise LabelError(f"{self.name} has no part {part!r}", remedy=near or f"it has {', '.join(self.parts)}")

    def ids_of(self, *parts: str) -> tuple[int, ...]:
        """Return the ids of parts and of groups of parts, such as `lips`, in rising order."""
        ids: set[int] = set()
        for part in parts:
            ids.update(self.present_ids(PART_GROUPS.get(part, ())) or [self.id_of(part)])
        return tuple(sorted(ids))

    def present_ids(self, parts: Iterable[str]) -> tuple[int, ...]:
        """Return the ids of those of the parts that the space has, in the order given."""
        return tuple(self.parts.index(part) for part in parts if part in self.parts)


def remap_table(source: LabelSpace, target: LabelSpace, *, drop_missing: bool = False) -> npt.NDArray[np.uint8]:
    """Return a table for `table[labels]`. With `drop_missing`, parts that the target lacks go to a broader one."""
    lost = lost_parts(source, target)
    if lost and not drop_missing:
        raise LabelError(
            f"{target.name} lacks parts of {source.name}",
            found=", ".join(lost),
            remedy="pass drop_missing=True to merge them into broader parts",
        )
    table = np.zeros(256, dtype=np.uint8)
    for index, part in enumerate(source.parts):
        table[index] = target.parts.index(lost.get(part, part))
    return table


def lost_parts(source: LabelSpace, target: LabelSpace) -> dict[str, str]:
    """Map each part that the target lacks to the part that takes over its pixels."""
    return {part: BROADER_PART.get(part, "background") for part in source.parts if part not in target.parts}


def describe_lost_parts(source: LabelSpace, target: LabelSpace) -> str:
    """Return one line about the parts that the target merges into others; empty if there are none."""
    merged = ", ".join(f"{part} becomes {into}" for part, into in lost_parts(source, target).items())
    return f"{target.name} lacks some parts: {merged}" if merged else ""


def label_space(name: str) -> LabelSpace:
    if name not in LABEL_SPACES:
        raise LabelError(f"unknown label space {name!r}", remedy=f"choose one of {', '.join(LABEL_SPACES)}")
    return LABEL_SPACES[name]


def _celebamask(name: str, order: Sequence[str]) -> LabelSpace:
    return LabelSpace(
        name,
        tuple((part_name, _CELEBAMASK_PARTS[part_name]) for part_name in order),
        frozenset(("glasses", "hat", "earring", "necklace")),
    )


# Suffixes of the dataset's part files. l_lip is the lower lip, u_lip the upper one; ear_r is the earring.
_CELEBAMASK_PARTS = {
    "background": "background",
    "neck": "neck",
    "skin": "skin",
    "cloth": "cloth",
    "l_ear": "left_ear",
    "r_ear": "right_ear",
    "l_brow": "left_brow",
    "r_brow": "right_brow",
    "l_eye": "left_eye",
    "r_eye": "right_eye",
    "nose": "nose",
    "mouth": "inner_mouth",
    "l_lip": "lower_lip",
    "u_lip": "upper_lip",
    "hair": "hair",
    "eye_g": "glasses",
    "hat": "hat",
    "ear_r": "earring",
    "neck_l": "necklace",
}

CELEBAMASK19 = _celebamask("celebamask19", tuple(_CELEBAMASK_PARTS))
CELEBAMASK19_RAW = _celebamask(
    "celebamask19-raw",
    (
        "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
        "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
    ),
)  # fmt: skip

_LAPA_CLASSES = (
    ("background", "background"),
    ("skin", "skin"),
    ("lb", "right_brow"),
    ("rb", "left_brow"),
    ("le", "right_eye"),
    ("re", "left_eye"),
    ("nose", "nose"),
    ("ulip", "upper_lip"),
    ("imouth", "inner_mouth"),
    ("llip", "lower_lip"),
    ("hair", "hair"),
)
LAPA11 = LabelSpace("lapa11", _LAPA_CLASSES)
HELEN11 = LabelSpace("helen11", _LAPA_CLASSES)

LABEL_SPACES = {space.name: space for space in (CELEBAMASK19, CELEBAMASK19_RAW, LAPA11, HELEN11)}
