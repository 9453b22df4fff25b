"""Writing and reading short videos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_segface.camera.sources import DemoSource, Source


def write_video(path: Path, count: int = 20, size_wh: tuple[int, int] = (320, 240), codec: str = "mp4v") -> Path:
    """Write the first `count` frames of the built-in clip."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 30, size_wh)
    source = DemoSource(size_wh)
    for _ in range(count):
        writer.write(source.read())
    writer.release()
    return path


def all_of(source: Source) -> list[np.ndarray]:
    """Read a source to its end and close it."""
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    return frames
