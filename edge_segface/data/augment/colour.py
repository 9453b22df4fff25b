"""What cameras do to colours: light, white balance, contrast, blur, noise, compression. Labels stay as they are."""

from __future__ import annotations

import cv2
import numpy as np

from edge_segface.frames import UInt8Array


def as_a_camera_sees_it(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Each effect comes with a chance of its own; together they leave about one picture in eleven as it is."""
    seen = image.astype(np.float32)
    if rng.random() < 0.8:
        seen = relit(seen, rng)
    if rng.random() < 0.08:
        seen = dark(seen, rng)
    if rng.random() < 0.2:
        seen = blurred(seen, rng)
    if rng.random() < 0.2:
        seen += rng.standard_normal(seen.shape, dtype=np.float32) * np.float32(rng.uniform(1, 12))
    out = np.clip(seen, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        out = recompressed(out, int(rng.integers(25, 90)))
    return out


def relit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, white balance, contrast and saturation; grey in one case of twenty."""
    image = image * np.float32(rng.uniform(0.6, 1.4))
    image = image * rng.uniform(0.88, 1.12, 3).astype(np.float32)
    grey = image.mean(axis=2, keepdims=True)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.5, 1.4)
    image = grey + (image - grey) * np.float32(saturation)
    middle = image.mean()
    return np.asarray(middle + (image - middle) * np.float32(rng.uniform(0.65, 1.35)))


def dark(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Low light: a curve that crushes the shadows, and the noise of a sensor turned up."""
    image = (
        255 * (np.clip(image, 0, 255) / 255) ** np.float32(rng.uniform(1.3, 2.2)) * np.float32(rng.uniform(0.3, 0.7))
    )
    return np.asarray(image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(3, 14)))


def blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus, or moved along a line."""
    if rng.random() < 0.6:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8)))
    length = int(rng.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    middle, reach = (length - 1) / 2, (length - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
    start, end = np.rint(middle - reach).astype(int), np.rint(middle + reach).astype(int)
    cv2.line(kernel, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()))


def recompressed(image: UInt8Array, quality: int) -> UInt8Array:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
