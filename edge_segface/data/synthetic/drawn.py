"""Drawn faces with exact labels: for tests, for first tries without a dataset, and for clips of known truth.

A person is a set of proportions and colours; drawn twice with one pose it gives the same pixels. All is drawn from
polygons in units of the face's half height, x to the right and y down from the middle of the face, and then placed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.data.dataset import Dataset, Points, Sample, check_split
from edge_segface.data.geometry import Colour, Matrix, as_colour, similarity_matrix, warp_points
from edge_segface.data.synthetic.backdrops import SKIN_TONES_BGR, drawn
from edge_segface.frames import UInt8Array
from edge_segface.labels import CELEBAMASK19

COUNTS = {"train": 256, "val": 32, "test": 32}
SIZE = 256
EXTRAS = ("glasses", "hat", "earring", "necklace")
LONG_HAIR = 0.5


@dataclass(frozen=True)
class Person:
    """Proportions in half heights of the face, colours in BGR, and what is worn."""

    face_width: float
    eye_gap: float
    eye_size: float
    mouth_width: float
    mouth_open: float
    nose_width: float
    hair_length: float  # 0 none, above 0.5 to the shoulders
    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    cloth: Colour
    extra: Colour
    wears: frozenset[str] = frozenset()

    @classmethod
    def any(cls, rng: np.random.Generator, chance: float = 0.35) -> Person:
        skin = SKIN_TONES_BGR[int(rng.integers(len(SKIN_TONES_BGR)))] + rng.normal(0, 8, 3)
        return cls(
            face_width=rng.uniform(0.66, 0.84),
            eye_gap=rng.uniform(0.27, 0.34),
            eye_size=rng.uniform(0.1, 0.15),
            mouth_width=rng.uniform(0.2, 0.34),
            mouth_open=max(0.0, rng.uniform(-0.06, 0.1)),
            nose_width=rng.uniform(0.1, 0.17),
            hair_length=rng.uniform(0.05, 1.0),
            skin=as_colour(skin),
            hair=as_colour(rng.uniform(0, 1) * np.array([120, 160, 200]) + 12),
            iris=as_colour(rng.uniform(20, 160, 3)),
            lips=as_colour(skin * (0.62, 0.55, 0.88)),
            cloth=as_colour(rng.uniform(0, 256, 3)),
            extra=as_colour(rng.uniform(0, 256, 3)),
            wears=frozenset(part for part in EXTRAS if rng.random() < chance),
        )


class Canvas:
    """A picture and its labels, painted together. `matrix` places what is drawn in face units."""

    def __init__(self, image: UInt8Array, labels: UInt8Array, matrix: Matrix) -> None:
        self.image, self.labels, self.matrix = image, labels, matrix

    def polygon(self, points: npt.ArrayLike, colour: Colour, part: str) -> None:
        corners = np.rint(warp_points(np.asarray(points, dtype=float), self.matrix) * 16).astype(np.int32)
        cv2.fillPoly(self.image, [corners], colour, cv2.LINE_8, shift=4)
        cv2.fillPoly(self.labels, [corners], CELEBAMASK19.id_of(part), cv2.LINE_8, shift=4)

    def oval(self, x: float, y: float, a: float, b: float, colour: Colour, part: str) -> None:
        self.polygon(arc(x, y, a, b), colour, part)

    def ring(self, x: float, y: float, a: float, b: float, wide: float, colour: Colour, part: str) -> None:
        self.polygon(np.concatenate((arc(x, y, a, b), arc(x, y, a - wide, b - wide)[::-1])), colour, part)


def arc(x: float, y: float, a: float, b: float, start: float = 0, end: float = 360) -> Points:
    angle = np.radians(np.linspace(start, end, 49))
    return np.column_stack((x + a * np.cos(angle), y + b * np.sin(angle)))


def draw_person(
    person: Person,
    image: UInt8Array,
    labels: UInt8Array,
    centre_xy: tuple[float, float],
    face_height: float,
    angle_deg: float = 0.0,
) -> Points:
    """Draws into both arrays; returns the five landmarks."""
    matrix = similarity_matrix(np.zeros(2), centre_xy, face_height / 2, angle_deg)
    canvas = Canvas(image, labels, matrix)
    _draw_behind(person, canvas)
    _draw_face(person, canvas)
    _draw_worn(person, canvas)
    five = [
        (-person.eye_gap, -0.2),
        (person.eye_gap, -0.2),
        (0, 0.2),
        (-person.mouth_width, 0.52),
        (person.mouth_width, 0.52),
    ]
    return warp_points(np.array(five), matrix)


def drawn_sample(name: str, size: int, rng: np.random.Generator) -> Sample:
    """One person before a drawn backdrop, now and then with something held in front of the face (background)."""
    image = drawn((size, size), rng)
    labels = np.zeros((size, size), dtype=np.uint8)
    centre = (size * rng.uniform(0.42, 0.58), size * rng.uniform(0.42, 0.55))
    height, angle = size * rng.uniform(0.4, 0.62), float(rng.normal(0, 10))
    landmarks = draw_person(Person.any(rng), image, labels, centre, height, angle)
    if rng.random() < 0.2:
        held = Canvas(image, labels, similarity_matrix(np.zeros(2), centre, height / 2, float(rng.uniform(0, 360))))
        held.polygon(
            [(0.3, 0.1), (0.55, 0.1), (0.6, 3.0), (0.25, 3.0)], as_colour(rng.uniform(0, 256, 3)), "background"
        )
    shaded = image + rng.normal(0, 5, image.shape) + np.linspace(-20, 20, size)[None, :, None] * rng.uniform(-1, 1)
    return Sample(name, np.clip(cv2.GaussianBlur(shaded, (0, 0), 0.7), 0, 255).astype(np.uint8), labels, landmarks)


def open_drawn(split: str, size: int = SIZE) -> Dataset:
    """A dataset of drawn faces, the same every time; it needs no folder."""
    check_split(split, tuple(COUNTS))
    first = {"train": 0, "val": 10_000, "test": 20_000}[split]
    names = tuple(f"drawn-{first + index}" for index in range(COUNTS[split]))

    def read(name: str) -> Sample:
        return drawn_sample(name, size, np.random.default_rng(int(name.rsplit("-", 1)[1])))

    def files(name: str) -> Iterable[Path]:  # noqa: ARG001
        return ()

    return Dataset("drawn", Path("drawn"), split, CELEBAMASK19, names, read, files)


def _draw_behind(person: Person, canvas: Canvas) -> None:
    wide, shade = person.face_width, _times(person.skin, 0.86)
    if person.hair_length > LONG_HAIR:
        canvas.oval(0, -0.1, wide * 1.3, 1.25, person.hair, "hair")
        low = 0.5 + person.hair_length
        canvas.polygon(
            [(-wide * 1.3, -0.1), (wide * 1.3, -0.1), (wide * 1.35, low), (-wide * 1.35, low)], person.hair, "hair"
        )
    canvas.polygon([(-0.38, 0.5), (0.38, 0.5), (0.45, 1.5), (-0.45, 1.5)], shade, "neck")
    canvas.polygon(
        [(-0.5, 1.25), (0, 1.5), (0.5, 1.25), (1.5, 1.6), (1.7, 4), (-1.7, 4), (-1.5, 1.6)], person.cloth, "cloth"
    )
    # The subject's left is on the right of the picture.
    canvas.oval(wide * 0.98, 0, 0.12, 0.24, shade, "left_ear")
    canvas.oval(-wide * 0.98, 0, 0.12, 0.24, shade, "right_ear")


def _draw_face(person: Person, canvas: Canvas) -> None:
    wide, dark = person.face_width, _times(person.hair, 0.7)
    canvas.oval(0, 0, wide, 1.0, person.skin, "skin")
    if person.hair_length > 0:
        fringe = np.concatenate((arc(0, -0.05, wide * 1.12, 1.12, 190, 350), arc(0, 0.1, wide * 0.98, 0.85, 340, 200)))
        canvas.polygon(fringe, person.hair, "hair")
    for side, name in ((1, "left"), (-1, "right")):
        x, size = side * person.eye_gap, person.eye_size
        canvas.polygon(
            np.concatenate((arc(x, -0.34, size * 1.4, 0.11, 200, 340), arc(x, -0.29, size * 1.4, 0.1, 340, 200))),
            dark,
            f"{name}_brow",
        )
        canvas.oval(x, -0.2, size, size * 0.55, (235, 238, 240), f"{name}_eye")
        canvas.oval(x, -0.2, size * 0.45, size * 0.5, person.iris, f"{name}_eye")
    nose = person.nose_width
    canvas.polygon(
        [(-nose * 0.4, -0.15), (nose * 0.4, -0.15), (nose, 0.24), (0, 0.31), (-nose, 0.24)],
        _times(person.skin, 0.93),
        "nose",
    )
    half, gap = person.mouth_width, person.mouth_open
    canvas.polygon(
        np.concatenate((arc(0, 0.52, half, 0.1, 180, 360), [(half, 0.52), (-half, 0.52)])), person.lips, "upper_lip"
    )
    canvas.polygon(
        np.concatenate((arc(0, 0.52 + gap, half, 0.11, 0, 180), [(-half, 0.52), (half, 0.52)])),
        _times(person.lips, 1.12),
        "lower_lip",
    )
    if gap > 0.01:
        canvas.oval(0, 0.52 + gap / 2, half * 0.8, gap / 2 + 0.02, (60, 40, 70), "inner_mouth")


def _draw_worn(person: Person, canvas: Canvas) -> None:
    wide, paint = person.face_width, person.extra
    if "glasses" in person.wears:
        for side in (1, -1):
            canvas.ring(side * person.eye_gap, -0.2, 0.21, 0.17, 0.045, paint, "glasses")
            canvas.polygon(
                [
                    (side * (person.eye_gap + 0.2), -0.25),
                    (side * wide, -0.22),
                    (side * wide, -0.17),
                    (side * (person.eye_gap + 0.2), -0.2),
                ],
                paint,
                "glasses",
            )
        canvas.polygon(
            [
                (-person.eye_gap + 0.2, -0.24),
                (person.eye_gap - 0.2, -0.24),
                (person.eye_gap - 0.2, -0.19),
                (-person.eye_gap + 0.2, -0.19),
            ],
            paint,
            "glasses",
        )
    if "hat" in person.wears:
        crown = arc(0, -0.6, wide * 1.15, 0.85, 180, 360)
        canvas.polygon(np.concatenate((crown, [(wide * 1.15, -0.52), (-wide * 1.15, -0.52)])), paint, "hat")
        canvas.oval(0, -0.56, wide * 1.5, 0.09, _times(paint, 0.8), "hat")
    if "earring" in person.wears:
        for side in (1, -1):
            canvas.oval(side * wide * 1.0, 0.36, 0.065, 0.12, _times(paint, 1.2), "earring")
    if "necklace" in person.wears:
        canvas.polygon(
            np.concatenate((arc(0, 1.0, 0.42, 0.36, 10, 170), arc(0, 1.0, 0.36, 0.28, 170, 10))),
            _times(paint, 1.1),
            "necklace",
        )


def _times(colour: Colour, factor: float) -> Colour:
    return as_colour(np.asarray(colour) * factor)
