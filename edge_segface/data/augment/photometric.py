"""Photometric augmentation, as cameras cause it: light, white balance, contrast, blur, noise and compression."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edge_segface.frames import UInt8Array


def distort_colours(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Apply each effect with its own probability. About one image in eleven stays unchanged."""
    pixels = image.astype(np.float32)
    if rng.random() < 0.8:
        pixels = jitter_colours(pixels, rng)
    if rng.random() < 0.08:
        pixels = darken(pixels, rng)
    if rng.random() < 0.2:
        pixels = blur(pixels, rng)
    if rng.random() < 0.2:
        pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(1, 12))
    distorted = np.clip(pixels, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        distorted = compress(distorted, int(rng.integers(25, 90)))
    return distorted


def backlight(image: UInt8Array, person: npt.NDArray[np.bool_], rng: np.random.Generator) -> UInt8Array:
    """Darken a person, or skin that is shaded from one side, against a backdrop that stays bright."""
    height, width = person.shape
    slope = np.linspace(rng.random(), rng.random(), width, dtype=np.float32)[None] if rng.random() < 0.5 else 1.0
    shade = np.float32(1 - rng.uniform(0.35, 0.8) * slope)
    soft = cv2.GaussianBlur(person.astype(np.float32), (0, 0), max(0.5, 0.004 * max(height, width)))
    return np.asarray(image * (1 - soft * (1 - shade))[..., None], dtype=np.uint8)


def jitter_colours(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary brightness, white balance, contrast and saturation; one image in twenty becomes grey."""
    pixels = pixels * np.float32(rng.uniform(0.6, 1.4))
    pixels = pixels * rng.uniform(0.88, 1.12, 3).astype(np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.5, 1.4)
    pixels = grey + (pixels - grey) * np.float32(saturation)
    mean = pixels.mean()
    return np.asarray(mean + (pixels - mean) * np.float32(rng.uniform(0.65, 1.35)))


def darken(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Imitate low light: crushed shadows and amplified sensor noise."""
    pixels = (
        255 * (np.clip(pixels, 0, 255) / 255) ** np.float32(rng.uniform(1.3, 2.2)) * np.float32(rng.uniform(0.3, 0.7))
    )
    return np.asarray(pixels + rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(3, 14)))


def blur(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur as an unfocused lens does, or along a line as motion does."""
    if rng.random() < 0.6:
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.8)))
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    middle, reach = (length - 1) / 2, (length - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
    start, end = np.rint(middle - reach).astype(int), np.rint(middle + reach).astype(int)
    cv2.line(kernel, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 1.0)
    return np.asarray(cv2.filter2D(pixels, -1, kernel / kernel.sum()))


def compress(image: UInt8Array, quality: int) -> UInt8Array:
    """Encode an image as JPEG and decode it again."""
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
