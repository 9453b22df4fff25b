"""Sources that read files: images and videos."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import cv2

from edge_segface.camera.sources.opencv import Capture
from edge_segface.errors import FrameError, ImageError, SourceError
from edge_segface.frames import MIN_SIDE, UInt8Array
from edge_segface.image_io import SUFFIXES, VIDEO_SUFFIXES, distinct_stems, find_images, read_image

COMPLETE = 0.9  # share of the frames, or of the duration, announced by a video's header, which is rarely exact


def is_image_source(text: str) -> bool:
    """Whether `text` names an image, or a folder or glob of images."""
    path = Path(text)
    if path.suffix.lower() in SUFFIXES or os.path.isdir(path):
        return True
    return not os.path.isfile(path) and any(character in text for character in "*?[")


class ImageSource:
    """Images, one after another, each in its own size.

    An unreadable one of several is a FrameError, and the next one follows; if none can be read, the source fails.
    """

    live = False
    frames_independent = True
    fps = 5.0

    def __init__(self, text: str) -> None:
        videos = videos_named_by(text)
        paths = find_image_files(text, videos)
        self._text, self._count, self._unreadable = text, len(paths), 0
        self._images = zip(paths, distinct_stems(paths), strict=True)
        self.frame_name: str | None = None
        self.description = f"{len(paths)} images from {text}" if len(paths) > 1 else str(paths[0])
        if videos:
            self.description += f", without {len(videos)} videos such as {videos[0].name}"

    def read(self) -> UInt8Array | None:
        path, self.frame_name = next(self._images, (None, None))
        if path is None:
            if self._unreadable == self._count:
                raise SourceError(f"no image of {self._text} can be read", found=f"{self._count} unreadable")
            return None
        try:
            return read_image(path)
        except ImageError as error:
            self._unreadable += 1
            kind = SourceError if self._count == 1 else FrameError
            raise kind(error.what, found=error.found, remedy=error.remedy) from error

    def close(self) -> None:
        pass


def find_image_files(text: str, videos: list[Path]) -> list[Path]:
    """Return the images of a file, folder or glob pattern; where there are videos only, say how to read them."""
    try:
        return find_images([text])
    except ImageError as error:
        if not videos:
            raise
        remedy = f"name one video at a time: --source {videos[0]}"
        raise SourceError(f"no image in {text}", found=f"{len(videos)} videos", remedy=remedy) from error


def videos_named_by(text: str) -> list[Path]:
    """Return the videos among the files of a folder or glob pattern."""
    path = Path(text)
    found = path.iterdir() if os.path.isdir(path) else map(Path, glob.glob(text, recursive=True))
    return sorted(item for item in found if item.suffix.lower() in VIDEO_SUFFIXES and os.path.isfile(item))


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
        self._frames, self._at_s = 0, 0.0
        self.fps = self._capture.fps
        self.description = f"{path}, {size_wh[0]}x{size_wh[1]}, {self.fps:.4g} FPS"

    def read(self) -> UInt8Array | None:
        frame = self._capture.read()
        if frame is None:
            self._check_complete()
            return None
        self._frames += 1
        self._at_s = 1e-3 * self._capture.get(cv2.CAP_PROP_POS_MSEC)
        return frame

    def _check_complete(self) -> None:
        """Raise if both frames and duration are missing. Of frames at irregular times FFmpeg guesses the number."""
        expected = COMPLETE * self._expected_frames
        if self._frames < expected and self._at_s < expected / self.fps:
            raise SourceError(
                f"{self._path} ends early and may be truncated",
                found=f"{self._frames} of {self._expected_frames} frames",
            )

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
