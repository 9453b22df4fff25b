"""What training makes of a dataset: one square picture, its labels and maybe five points, for each place of an epoch.

Everything random comes from the generator that is handed in, so a picture depends on the seed, the epoch and its place
in the epoch alone: not on how many processes load it, and not on whether training was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.data.augment.colour import as_a_camera_sees_it
from edge_segface.data.dataset import SQUASHED, Dataset, Points, Sample, resized_labels
from edge_segface.data.geometry import similarity_matrix, squeezed, warp_image, warp_labels, warp_points
from edge_segface.data.synthetic.backdrops import BackdropPool, backdrop, colour
from edge_segface.data.synthetic.paste_parts import lend, lenders
from edge_segface.data.synthetic.scenes import compose
from edge_segface.frames import OUTSIDE_BGR, RoI, UInt8Array, crop
from edge_segface.image_io import find_images, read_image
from edge_segface.labels import LabelSpace

Picked = tuple[UInt8Array, UInt8Array, Points | None]
Augmentation = Callable[[int, np.random.Generator], Picked]


def squashed(sample: Sample, size: int) -> Picked:
    """The whole picture as a square, whatever its shape, as SegFace takes it."""
    height, width = sample.labels.shape
    landmarks = None if sample.landmarks_xy is None else sample.landmarks_xy * (size / width, size / height)
    if (height, width) == (size, size):
        return sample.image_bgr, sample.labels, landmarks
    return squeezed(sample.image_bgr, size), resized_labels(sample.labels, (size, size)), landmarks


def letterboxed(sample: Sample, size: int) -> Picked:
    """The whole picture inside the square, in its own shape, as `parse` shows it to the network."""
    height, width = sample.labels.shape
    roi = RoI.whole((height, width))
    matrix = roi.square_from_frame(size)
    landmarks = None if sample.landmarks_xy is None else warp_points(sample.landmarks_xy, matrix)
    return crop(sample.image_bgr, roi, size), warp_labels(sample.labels, matrix, (size, size)), landmarks


def lapa_affine(sample: Sample, size: int, rng: np.random.Generator) -> Picked:
    """SegFace's own for LaPa: turned by up to 30 degrees, scaled by 0.5 to 3, shifted by up to 20 px, then squashed."""
    height, width = sample.labels.shape
    middle = np.array([width - 1, height - 1]) / 2
    shift_x, shift_y = rng.uniform(-20, 20, 2)
    matrix = similarity_matrix(
        middle, (middle[0] + shift_x, middle[1] + shift_y), rng.uniform(0.5, 3), rng.uniform(-30, 30)
    )
    landmarks = None if sample.landmarks_xy is None else warp_points(sample.landmarks_xy, matrix)
    image = warp_image(sample.image_bgr, matrix, (width, height))
    labels = warp_labels(sample.labels, matrix, (width, height))
    return squashed(Sample(sample.name, image, labels, landmarks), size)


@dataclass(frozen=True)
class Camera:
    """Ours: portraits as a tracked face looks, and whole frames with several heads or none, seen by a camera."""

    scenes: float = 0.3  # the share of whole frames
    plain: float = 0.0  # the share of pictures as they are, perhaps mirrored
    borrow: float = 0.3  # the chance that a portrait borrows a rare part
    backdrops: str | None = None  # a folder of pictures without faces, to put heads before

    def __post_init__(self) -> None:
        if not (min(self.scenes, self.plain, self.borrow) >= 0 and self.borrow <= 1 and self.scenes + self.plain <= 1):
            raise ValueError("shares lie between 0 and 1, and so does scenes + plain")


def backdrop_images(camera: Camera) -> list[Path]:
    """The pictures of `backdrops`, each of which was read once."""
    pictures = find_images([camera.backdrops]) if camera.backdrops else []
    for picture in pictures:
        read_image(picture)
    return pictures


class CameraAugmentation:
    def __init__(self, dataset: Dataset, size: int, camera: Camera, pixels: npt.NDArray[np.int64]) -> None:
        self.dataset, self.size, self.camera = dataset, size, camera
        self.space: LabelSpace = dataset.space
        self.pictures = backdrop_images(camera)
        self.lenders = lenders(pixels, self.space) if camera.borrow else {}

    def __call__(self, index: int, rng: np.random.Generator) -> Picked:
        kind = rng.random()
        if kind >= 1 - self.camera.plain:
            return *self.as_it_is(index, rng), None
        image, labels = self.whole_frame(index, rng) if kind < self.camera.scenes else self.portrait(index, rng)
        return as_a_camera_sees_it(image, rng), labels, None

    def as_it_is(self, index: int, rng: np.random.Generator) -> tuple[UInt8Array, UInt8Array]:
        """As `parse` shows it to the network: what the weights are scored on."""
        sample = self.dataset[index]
        if rng.random() < 0.5:
            labels = np.ascontiguousarray(self.space.flip_table[sample.labels][:, ::-1])
            sample = Sample(sample.name, np.ascontiguousarray(sample.image_bgr[:, ::-1]), labels)
        image, labels, _ = letterboxed(sample, self.size)
        return image, labels

    def portrait(self, index: int, rng: np.random.Generator) -> tuple[UInt8Array, UInt8Array]:
        """One face, turned, nearer or farther, off the middle, cut by the edge, before its own or another backdrop."""
        sample = self.dataset[index]
        if self.lenders and rng.random() < self.camera.borrow:
            part = str(rng.choice(list(self.lenders)))
            lender = self.dataset[int(rng.choice(self.lenders[part]))]
            sample = lend(lender, part, sample, self.space, rng)
        height, width = sample.labels.shape
        scale = self.size / max(height, width) * math.exp(rng.uniform(math.log(0.45), math.log(1.7)))
        angle = float(rng.normal(0, 14)) if rng.random() < 0.8 else 0.0
        looked_at = np.array([width - 1, height - 1]) / 2 + rng.uniform(-0.18, 0.18, 2) * (width, height)
        mirror = bool(rng.random() < 0.5)
        matrix = similarity_matrix(looked_at, ((self.size - 1) / 2, (self.size - 1) / 2), scale, angle, mirror)
        ids = self.space.flip_table[sample.labels] if mirror else sample.labels
        square = (self.size, self.size)
        labels = warp_labels(ids, matrix, square)
        if rng.random() < 0.55:
            outside = OUTSIDE_BGR if rng.random() < 0.5 else colour(rng)
            return warp_image(sample.image_bgr, matrix, square, outside), labels
        # Before another backdrop; where the picture ends its backdrop may go on (a picture on a wall) or not.
        image = backdrop(square, rng, self.behind(rng))
        moved = warp_image(sample.image_bgr, matrix, square)
        shown = labels > 0
        if rng.random() < 0.4:
            shown = warp_labels(np.ones_like(ids), matrix, square) > 0
        soft = cv2.GaussianBlur(shown.astype(np.float32), (0, 0), 0.8)[..., None]
        return np.asarray(np.rint(image * (1 - soft) + moved * soft), dtype=np.uint8), labels

    def whole_frame(self, index: int, rng: np.random.Generator) -> tuple[UInt8Array, UInt8Array]:
        """A camera's frame as the parser sees it when it looks for faces: shrunk into the square, with bars."""
        width_over_height = float(rng.choice([4 / 3, 4 / 3, 16 / 9, 1.0, 3 / 4]))
        width = self.size if width_over_height >= 1 else round(self.size * width_over_height)
        height = round(self.size / width_over_height) if width_over_height >= 1 else self.size
        count = int(rng.choice([0, 1, 2, 3, 4], p=[0.12, 0.4, 0.26, 0.14, 0.08]))
        heads = [self.dataset[index], *self._others(rng, max(0, count - 1))][:count]
        largest = 0.9 if count == 1 else 0.6 if count == 2 else 0.4
        heights = [height * math.exp(rng.uniform(math.log(0.1), math.log(largest))) for _ in heads]
        scene = compose(heads, heights, (width, height), rng, self.behind(rng), cut_off=0.3)
        image = np.full((self.size, self.size, 3), OUTSIDE_BGR, dtype=np.uint8)
        labels = np.zeros((self.size, self.size), dtype=np.uint8)
        there = np.s_[(self.size - height) // 2 :, (self.size - width) // 2 :]
        image[there][:height, :width] = scene.image_bgr
        labels[there][:height, :width] = scene.labels
        return image, labels

    def behind(self, rng: np.random.Generator) -> BackdropPool:
        return BackdropPool(self.space, self._others(rng), self.pictures)

    def _others(self, rng: np.random.Generator, count: int = 3) -> list[Sample]:
        return [self.dataset[int(index)] for index in rng.integers(0, len(self.dataset), count)]


def augmentation(name: str, dataset: Dataset, size: int, camera: Camera, pixels: npt.NDArray[np.int64]) -> Augmentation:
    """`pixels` (pictures, classes) is how much of each class a picture has."""
    if name == "camera":
        return CameraAugmentation(dataset, size, camera, pixels)
    if name == "lapa":
        return lambda index, rng: lapa_affine(dataset[index], size, rng)
    shaped = squashed if dataset.kind in SQUASHED else letterboxed
    return lambda index, rng: shaped(dataset[index], size)  # noqa: ARG005


AUGMENTATIONS = ("none", "lapa", "camera")
