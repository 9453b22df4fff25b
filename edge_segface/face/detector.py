"""An external face detector in place of the finder: OpenCV's FaceDetectorYN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edge_segface.errors import ModelError
from edge_segface.frames import UInt8Array
from edge_segface.regions import Face

Detector = Callable[[UInt8Array], list[Face]]


def open_detector(path: Path, threshold: float = 0.7) -> Detector:
    """Open a model file for OpenCV's FaceDetectorYN, such as YuNet."""
    try:
        network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), threshold)
        network.detect(np.zeros((320, 320, 3), dtype=np.uint8))  # a wrong kind of model fails only here
    except cv2.error as error:
        raise ModelError(
            f"{path} is not a model for OpenCV's FaceDetectorYN", found=str(error).strip().splitlines()[-1]
        ) from error

    def detect(image_bgr: UInt8Array) -> list[Face]:
        network.setInputSize((image_bgr.shape[1], image_bgr.shape[0]))
        _, rows = network.detect(image_bgr)
        if rows is None:
            return []
        return [Face((x, y, x + w, y + h), score) for x, y, w, h, *_, score in rows.astype(float).tolist()]

    return detect
