"""The augmentation for camera loops: single faces as a tracker crops them, and whole frames with heads or none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.data.augment.fit import FittedSample, letterboxed
from edge_segface.data.augment.photometric import backlight, distort_colours
from edge_segface.data.geometry import similarity_matrix, warp_image, warp_labels
from edge_segface.data.sample import Dataset, Sample
from edge_segface.data.synthetic.backdrops import BackdropPool, random_backdrop, random_colour, random_crop
from edge_segface.data.synthetic.occluders import paste_occluder
from edge_segface.data.synthetic.paste_parts import find_donors, paste_part
from edge_segface.data.synthetic.scenes import compose_scene
from edge_segface.frames import OUTSIDE_BGR, UInt8Array
from edge_segface.image_io import find_images, read_image
from edge_segface.regions import face_ids

LabelledImage = tuple[UInt8Array, UInt8Array]  # image (h, w, 3), labels (h, w)


@dataclass(frozen=True)
class CameraSettings:
    """How often each kind of image is generated; images are portraits where nothing else applies."""

    scenes: float = 0.3  # share of whole frames
    plain: float = 0.0  # share of unchanged images, half of them mirrored
    empty: float = 0.0  # share of images without a face; most are crops of `backdrops`, if given
    borrow: float = 0.3  # probability that a portrait gets a rare part of another face
    occluders: float = 0.0  # probability that an object covers part of a face, for all but unchanged images
    backlit: float = 0.0  # probability that people stand against the light, for all but unchanged images
    backdrops: str | None = None  # folder of images without faces, used as backdrops

    def __post_init__(self) -> None:
        shares = (self.scenes, self.plain, self.empty)
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError("scenes, plain, empty and their sum must lie between 0 and 1")
        if not all(0 <= share <= 1 for share in (self.borrow, self.occluders, self.backlit)):
            raise ValueError("borrow, occluders and backlit must lie between 0 and 1")


def backdrop_images(settings: CameraSettings) -> list[Path]:
    """List the images of the `backdrops` folder; raise if one of them cannot be read."""
    paths = find_images([settings.backdrops]) if settings.backdrops else []
    for path in paths:
        read_image(path)
    return paths


class CameraAugmentation:
    """Generates training images from a dataset. `pixels` (samples, classes) counts the pixels of each class."""

    def __init__(self, dataset: Dataset, size: int, settings: CameraSettings, pixels: npt.NDArray[np.int64]) -> None:
        self.dataset, self.size, self.settings = dataset, size, settings
        self.space = dataset.space
        self.backdrop_paths = backdrop_images(settings)
        self.donors = find_donors(pixels, self.space) if settings.borrow else {}

    def __call__(self, index: int, rng: np.random.Generator) -> FittedSample:
        kind = rng.random()
        if kind >= 1 - self.settings.plain:
            return *self.plain_image(index, rng), None
        if kind < self.settings.scenes:
            image, labels = self.whole_frame(index, rng)
        elif kind < self.settings.scenes + self.settings.empty:
            image, labels = self.empty_image(rng)
        else:
            image, labels = self.portrait(index, rng)
        if self.settings.occluders and rng.random() < self.settings.occluders:
            faces, skin = (np.isin(labels, ids) for ids in (face_ids(self.space), self.space.ids_of("skin")))
            image, labels = paste_occluder(image, labels, faces, skin, rng, self.backdrop_pool(rng))
        if self.settings.backlit and rng.random() < self.settings.backlit:
            image = backlight(image, labels > 0, rng)
        return distort_colours(image, rng), labels, None

    def empty_image(self, rng: np.random.Generator) -> LabelledImage:
        """Return an image in which nothing is a face."""
        square = (self.size, self.size)
        labels = np.zeros(square, dtype=np.uint8)
        if self.backdrop_paths and rng.random() < 0.8:
            image = read_image(self.backdrop_paths[int(rng.integers(len(self.backdrop_paths)))])
            if rng.random() < 0.5:
                image = np.ascontiguousarray(image[:, ::-1])
            if rng.random() < 0.3:
                return letterboxed(Sample("", image, np.zeros(image.shape[:2], dtype=np.uint8)), self.size)[0], labels
            return random_crop(image, square, rng), labels
        return random_backdrop(square, rng, self.backdrop_pool(rng)), labels

    def plain_image(self, index: int, rng: np.random.Generator) -> LabelledImage:
        """Return the image as `parse` and `evaluate` show it to the network, or its mirror image."""
        sample = self.dataset[index]
        if rng.random() < 0.5:
            labels = np.ascontiguousarray(self.space.flip_table[sample.labels][:, ::-1])
            sample = Sample(sample.name, np.ascontiguousarray(sample.image_bgr[:, ::-1]), labels)
        image, labels, _ = letterboxed(sample, self.size)
        return image, labels

    def portrait(self, index: int, rng: np.random.Generator) -> LabelledImage:
        """Return one face: turned, scaled, off the centre, perhaps cut off, before its own or another backdrop."""
        sample = self._with_rare_part(self.dataset[index], rng)
        height, width = sample.labels.shape
        scale = self.size / max(height, width) * math.exp(rng.uniform(math.log(0.45), math.log(1.7)))
        angle = float(rng.normal(0, 14)) if rng.random() < 0.8 else 0.0
        centre = np.array([width - 1, height - 1]) / 2 + rng.uniform(-0.18, 0.18, 2) * (width, height)
        mirror = bool(rng.random() < 0.5)
        matrix = similarity_matrix(centre, ((self.size - 1) / 2, (self.size - 1) / 2), scale, angle, mirror)
        ids = self.space.flip_table[sample.labels] if mirror else sample.labels
        square = (self.size, self.size)
        labels = warp_labels(ids, matrix, square)
        if rng.random() < 0.55:
            border = OUTSIDE_BGR if rng.random() < 0.5 else random_colour(rng)
            return warp_image(sample.image_bgr, matrix, square, border), labels
        backdrop = random_backdrop(square, rng, self.backdrop_pool(rng))
        warped = warp_image(sample.image_bgr, matrix, square)
        visible = labels > 0
        if rng.random() < 0.4:  # the whole image, with its own backdrop: like a photograph on a wall
            visible = warp_labels(np.ones_like(ids), matrix, square) > 0
        alpha = cv2.GaussianBlur(visible.astype(np.float32), (0, 0), 0.8)[..., None]
        return np.asarray(np.rint(backdrop * (1 - alpha) + warped * alpha), dtype=np.uint8), labels

    def whole_frame(self, index: int, rng: np.random.Generator) -> LabelledImage:
        """Return a camera frame with up to four heads or a crowd, letterboxed as in a search for faces."""
        aspect_ratio = float(rng.choice([4 / 3, 4 / 3, 16 / 9, 1.0, 3 / 4]))
        width = self.size if aspect_ratio >= 1 else round(self.size * aspect_ratio)
        height = round(self.size / aspect_ratio) if aspect_ratio >= 1 else self.size
        count = int(rng.choice([0, 1, 2, 3, 4, 10], p=[0.12, 0.37, 0.24, 0.13, 0.07, 0.07]))
        if count == 10:
            count = int(rng.integers(5, 17))
        heads = [self.dataset[index], *self._random_samples(rng, max(0, count - 1))][:count]
        smallest = 0.1 if count <= 4 else 0.07
        largest = 0.9 if count == 1 else 0.6 if count == 2 else 0.4 if count <= 4 else 0.2
        heights = [height * math.exp(rng.uniform(math.log(smallest), math.log(largest))) for _ in heads]
        scene = compose_scene(heads, heights, (width, height), rng, self.backdrop_pool(rng), cut_off=0.3)
        image = np.full((self.size, self.size, 3), OUTSIDE_BGR, dtype=np.uint8)
        labels = np.zeros((self.size, self.size), dtype=np.uint8)
        top, left = (self.size - height) // 2, (self.size - width) // 2
        inside = np.s_[top : top + height, left : left + width]
        image[inside], labels[inside] = scene.image_bgr, scene.labels
        return image, labels

    def backdrop_pool(self, rng: np.random.Generator) -> BackdropPool:
        """Return what the backdrop of one image may be made from."""
        return BackdropPool(self.space, self._random_samples(rng), self.backdrop_paths)

    def _with_rare_part(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if not self.donors or rng.random() >= self.settings.borrow:
            return sample
        part = str(rng.choice(list(self.donors)))
        donor = self.dataset[int(rng.choice(self.donors[part]))]
        return paste_part(donor, part, sample, self.space, rng)

    def _random_samples(self, rng: np.random.Generator, count: int = 3) -> list[Sample]:
        return [self.dataset[int(index)] for index in rng.integers(0, len(self.dataset), count)]
