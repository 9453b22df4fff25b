"""Fitting a sample into the square input of a network."""

from __future__ import annotations

from edge_segface.data.geometry import resize_labels, squash_image, warp_labels, warp_points
from edge_segface.data.sample import Points, Sample
from edge_segface.frames import RoI, UInt8Array, crop

FittedSample = tuple[UInt8Array, UInt8Array, Points | None]  # image (s, s, 3), labels (s, s), landmarks (5, 2)


def squashed(sample: Sample, size: int) -> FittedSample:
    """Resize the whole image to the square, ignoring its aspect ratio, as SegFace does."""
    height, width = sample.labels.shape
    landmarks = None if sample.landmarks_xy is None else sample.landmarks_xy * (size / width, size / height)
    if (height, width) == (size, size):
        return sample.image_bgr, sample.labels, landmarks
    return squash_image(sample.image_bgr, size), resize_labels(sample.labels, (size, size)), landmarks


def letterboxed(sample: Sample, size: int) -> FittedSample:
    """Fit the whole image into the square without distortion, as `parse` does."""
    height, width = sample.labels.shape
    roi = RoI.whole((height, width))
    matrix = roi.square_from_frame(size)
    landmarks = None if sample.landmarks_xy is None else warp_points(sample.landmarks_xy, matrix)
    return crop(sample.image_bgr, roi, size), warp_labels(sample.labels, matrix, (size, size)), landmarks
