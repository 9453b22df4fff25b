"""Sources that read files: images and videos."""

from __future__ import annotations

from pathlib import Path

import cv2

from edge_segface.camera.sources.opencv import Capture
from edge_segface.errors import FrameError, ImageError, SourceError
from edge_segface.frames import MIN_SIDE, UInt8Array
from edge_segface.image_io import SUFFIXES, distinct_stems, find_images, read_image

COMPLETE = 0.9  # share of the frames announced by a video's header, which is rarely exact


def is_image_source(text: str) -> bool:
    """Whether `text` names an image, or a folder or glob of images."""
    path = Path(text)
    if path.suffix.lower() in SUFFIXES or path.is_dir():
        return True
    return not path.is_file() and any(character in text for character in "*?[")


class ImageSource:
    """Images, one after another, each in its own size. An unreadable one is a FrameError, and the next one follows."""

    live = False
    frames_independent = True
    fps = 5.0

    def __init__(self, text: str) -> None:
        paths = find_images([text])
        self._images = zip(paths, distinct_stems(paths), strict=True)
        self.frame_name: str | None = None
        self.description = f"{len(paths)} images from {text}" if len(paths) > 1 else str(paths[0])

    def read(self) -> UInt8Array | None:
        path, self.frame_name = next(self._images, (None, None))
        if path is None:
            return None
        try:
            return read_image(path)
        except ImageError as error:
            raise FrameError(str(error)) from error

    def close(self) -> None:
        pass


class VideoSource:
    """Every frame of a video file."""

    live = False
    frames_independent = False
    frame_name: str | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._capture = Capture(cv2.VideoCapture(str(path)))
        size_wh = self._capture.size_wh
        if size_wh is None or min(size_wh) < MIN_SIDE:
            self._capture.close()
            raise unusable_video(path, size_wh)
        self._expected_frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._frames = 0
        self.fps = self._capture.fps
        self.description = f"{path}, {size_wh[0]}x{size_wh[1]}, {self.fps:.4g} FPS"

    def read(self) -> UInt8Array | None:
        frame = self._capture.read()
        if frame is None and self._frames < COMPLETE * self._expected_frames:
            raise SourceError(
                f"{self._path} ends early and may be truncated",
                found=f"{self._frames} of {self._expected_frames} frames",
            )
        self._frames += 1
        return frame

    def close(self) -> None:
        self._capture.close()


def unusable_video(path: Path, size_wh: tuple[int, int] | None) -> SourceError:
    if size_wh is not None:
        return SourceError(f"{path} is too small to show a face", found=f"{size_wh[0]}x{size_wh[1]}")
    return SourceError(
        f"cannot read any frame of {path}, which may be truncated or not a video",
        found=f"{path.stat().st_size} bytes",
        remedy="check that it plays in another program",
    )
