"""Drawn faces with exact labels: for tests, for trying out training without a dataset, and for demo clips.

A person is a set of proportions and colours; drawn twice in the same pose it gives the same pixels. Everything is a
polygon in face units: half the height of the face, x to the right and y down from its centre.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.data.geometry import Colour, Matrix, as_colour, similarity_matrix, warp_points
from edge_segface.data.sample import Dataset, Points, Sample
from edge_segface.data.synthetic.backdrops import SKIN_TONES_BGR, draw_backdrop
from edge_segface.errors import DatasetError
from edge_segface.frames import UInt8Array
from edge_segface.labels import CELEBAMASK19

SPLITS = {"train": (0, 256), "val": (10_000, 32), "test": (20_000, 32)}  # first seed, number of samples
SIZE = 256
ACCESSORIES = ("glasses", "hat", "earring", "necklace")
LONG_HAIR = 0.5  # hair longer than this hangs down beside the face


@dataclass(frozen=True)
class Person:
    """Proportions in face units, colours in BGR, and accessories."""

    face_width: float
    eye_gap: float
    eye_size: float
    mouth_width: float
    mouth_open: float
    nose_width: float
    hair_length: float  # 0 none, 1 below the shoulders
    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    cloth: Colour
    accessory: Colour
    wears: frozenset[str] = frozenset()

    @classmethod
    def any(cls, rng: np.random.Generator, chance: float = 0.35) -> Person:
        """Return a random person; `chance` is the probability of each accessory."""
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
            accessory=as_colour(rng.uniform(0, 256, 3)),
            wears=frozenset(part for part in ACCESSORIES if rng.random() < chance),
        )


class Canvas:
    """An image and its labels, drawn on together. `matrix` transforms face units to pixels."""

    def __init__(self, image: UInt8Array, labels: UInt8Array, matrix: Matrix) -> None:
        self.image, self.labels, self.matrix = image, labels, matrix

    def polygon(self, points: npt.ArrayLike, colour: Colour, part: str) -> None:
        corners = np.rint(warp_points(np.asarray(points, dtype=float), self.matrix) * 16).astype(np.int32)
        cv2.fillPoly(self.image, [corners], colour, cv2.LINE_8, shift=4)
        cv2.fillPoly(self.labels, [corners], CELEBAMASK19.id_of(part), cv2.LINE_8, shift=4)

    def oval(self, x: float, y: float, a: float, b: float, colour: Colour, part: str) -> None:
        self.polygon(arc(x, y, a, b), colour, part)

    def ring(self, x: float, y: float, a: float, b: float, thickness: float, colour: Colour, part: str) -> None:
        inner = arc(x, y, a - thickness, b - thickness)[::-1]
        self.polygon(np.concatenate((arc(x, y, a, b), inner)), colour, part)


def arc(x: float, y: float, a: float, b: float, start: float = 0, end: float = 360) -> Points:
    """Return points (49, 2) of an ellipse with semi-axes a and b, between two angles in degrees."""
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
    """Draw a person into an image and its labels, in place, and return the five landmarks."""
    matrix = similarity_matrix(np.zeros(2), centre_xy, face_height / 2, angle_deg)
    canvas = Canvas(image, labels, matrix)
    _draw_body(person, canvas)
    _draw_face(person, canvas)
    _draw_accessories(person, canvas)
    five = [
        (-person.eye_gap, -0.2),
        (person.eye_gap, -0.2),
        (0, 0.2),
        (-person.mouth_width, 0.52),
        (person.mouth_width, 0.52),
    ]
    return warp_points(np.array(five), matrix)


def draw_sample(name: str, size: int, rng: np.random.Generator) -> Sample:
    """Draw one person before a backdrop, one in five with an object (labelled background) in front of the face."""
    image = draw_backdrop((size, size), rng)
    labels = np.zeros((size, size), dtype=np.uint8)
    centre = (size * rng.uniform(0.42, 0.58), size * rng.uniform(0.42, 0.55))
    height, angle = size * rng.uniform(0.4, 0.62), float(rng.normal(0, 10))
    landmarks = draw_person(Person.any(rng), image, labels, centre, height, angle)
    if rng.random() < 0.2:
        matrix = similarity_matrix(np.zeros(2), centre, height / 2, float(rng.uniform(0, 360)))
        corners = [(0.3, 0.1), (0.55, 0.1), (0.6, 3.0), (0.25, 3.0)]
        Canvas(image, labels, matrix).polygon(corners, as_colour(rng.uniform(0, 256, 3)), "background")
    shaded = image + rng.normal(0, 5, image.shape) + np.linspace(-20, 20, size)[None, :, None] * rng.uniform(-1, 1)
    return Sample(name, np.clip(cv2.GaussianBlur(shaded, (0, 0), 0.7), 0, 255).astype(np.uint8), labels, landmarks)


def open_drawn(split: str, size: int = SIZE) -> Dataset:
    """Open a dataset of drawn faces. It needs no files: every sample is drawn from the seed in its name."""
    if split not in SPLITS:
        raise DatasetError(f"drawn faces have no split {split!r}", remedy=f"choose one of {', '.join(SPLITS)}")
    first, count = SPLITS[split]
    names = tuple(f"drawn-{first + index}" for index in range(count))

    def read(name: str) -> Sample:
        return draw_sample(name, size, np.random.default_rng(int(name.rsplit("-", 1)[1])))

    def files(name: str) -> Iterable[Path]:  # noqa: ARG001
        return ()

    return Dataset("drawn", Path("drawn"), split, CELEBAMASK19, names, read, files)


def _draw_body(person: Person, canvas: Canvas) -> None:
    width, shade = person.face_width, _times(person.skin, 0.86)
    if person.hair_length > LONG_HAIR:
        canvas.oval(0, -0.1, width * 1.3, 1.25, person.hair, "hair")
        top, bottom, end = width * 1.3, width * 1.35, 0.5 + person.hair_length
        canvas.polygon([(-top, -0.1), (top, -0.1), (bottom, end), (-bottom, end)], person.hair, "hair")
    canvas.polygon([(-0.38, 0.5), (0.38, 0.5), (0.45, 1.5), (-0.45, 1.5)], shade, "neck")
    shoulders = [(-0.5, 1.25), (0, 1.5), (0.5, 1.25), (1.5, 1.6), (1.7, 4), (-1.7, 4), (-1.5, 1.6)]
    canvas.polygon(shoulders, person.cloth, "cloth")
    # The subject's left is on the right of the image.
    canvas.oval(width * 0.98, 0, 0.12, 0.24, shade, "left_ear")
    canvas.oval(-width * 0.98, 0, 0.12, 0.24, shade, "right_ear")


def _draw_face(person: Person, canvas: Canvas) -> None:
    width = person.face_width
    canvas.oval(0, 0, width, 1.0, person.skin, "skin")
    if person.hair_length > 0:
        outer, inner = arc(0, -0.05, width * 1.12, 1.12, 190, 350), arc(0, 0.1, width * 0.98, 0.85, 340, 200)
        canvas.polygon(np.concatenate((outer, inner)), person.hair, "hair")
    for side, name in ((1, "left"), (-1, "right")):
        _draw_eye(person, canvas, side * person.eye_gap, name)
    nose = person.nose_width
    outline = [(-nose * 0.4, -0.15), (nose * 0.4, -0.15), (nose, 0.24), (0, 0.31), (-nose, 0.24)]
    canvas.polygon(outline, _times(person.skin, 0.93), "nose")
    _draw_mouth(person, canvas)


def _draw_eye(person: Person, canvas: Canvas, x: float, side: str) -> None:
    size = person.eye_size
    upper, lower = arc(x, -0.34, size * 1.4, 0.11, 200, 340), arc(x, -0.29, size * 1.4, 0.1, 340, 200)
    canvas.polygon(np.concatenate((upper, lower)), _times(person.hair, 0.7), f"{side}_brow")
    canvas.oval(x, -0.2, size, size * 0.55, (235, 238, 240), f"{side}_eye")
    canvas.oval(x, -0.2, size * 0.45, size * 0.5, person.iris, f"{side}_eye")


def _draw_mouth(person: Person, canvas: Canvas) -> None:
    half, gap = person.mouth_width, person.mouth_open
    left, right = (-half, 0.52), (half, 0.52)
    upper, lower = arc(0, 0.52, half, 0.1, 180, 360), arc(0, 0.52 + gap, half, 0.11, 0, 180)
    canvas.polygon(np.concatenate((upper, [right, left])), person.lips, "upper_lip")
    canvas.polygon(np.concatenate((lower, [left, right])), _times(person.lips, 1.12), "lower_lip")
    if gap > 0.01:
        canvas.oval(0, 0.52 + gap / 2, half * 0.8, gap / 2 + 0.02, (60, 40, 70), "inner_mouth")


def _draw_accessories(person: Person, canvas: Canvas) -> None:
    width, colour = person.face_width, person.accessory
    if "glasses" in person.wears:
        _draw_glasses(person, canvas)
    if "hat" in person.wears:
        crown = arc(0, -0.6, width * 1.15, 0.85, 180, 360)
        canvas.polygon(np.concatenate((crown, [(width * 1.15, -0.52), (-width * 1.15, -0.52)])), colour, "hat")
        canvas.oval(0, -0.56, width * 1.5, 0.09, _times(colour, 0.8), "hat")
    if "earring" in person.wears:
        for side in (1, -1):
            canvas.oval(side * width * 1.0, 0.36, 0.065, 0.12, _times(colour, 1.2), "earring")
    if "necklace" in person.wears:
        outer, inner = arc(0, 1.0, 0.42, 0.36, 10, 170), arc(0, 1.0, 0.36, 0.28, 170, 10)
        canvas.polygon(np.concatenate((outer, inner)), _times(colour, 1.1), "necklace")


def _draw_glasses(person: Person, canvas: Canvas) -> None:
    gap, width, colour = person.eye_gap, person.face_width, person.accessory
    for side in (1, -1):
        canvas.ring(side * gap, -0.2, 0.21, 0.17, 0.045, colour, "glasses")
        hinge, ear = side * (gap + 0.2), side * width
        canvas.polygon([(hinge, -0.25), (ear, -0.22), (ear, -0.17), (hinge, -0.2)], colour, "glasses")
    bridge = gap - 0.2
    corners = [(-bridge, -0.24), (bridge, -0.24), (bridge, -0.19), (-bridge, -0.19)]
    canvas.polygon(corners, colour, "glasses")


def _times(colour: Colour, factor: float) -> Colour:
    return as_colour(np.asarray(colour) * factor)
