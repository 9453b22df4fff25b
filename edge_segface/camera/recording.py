"""The sink that records the drawn frames."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge_segface.camera.result import FrameResult
from edge_segface.errors import SinkError, reason_of
from edge_segface.files import make_folder
from edge_segface.frames import UInt8Array

if TYPE_CHECKING:
    from edge_segface.camera.video_file import VideoFile

SUFFIXES = (".mp4", ".mkv", ".mov", ".avi")
LONGEST_S = 5.0  # longest time that one frame stays in a recording
RESERVE_BYTES = 64 << 20  # disk space left free, so that the recording can still be finished
CHECK_EVERY = 15  # frames


class Recording:
    """A video of the drawn frames, in the size of the first; later frames of another size are fitted into it.

    Frames of a live source carry the times at which they were captured, so the video plays at real-time speed; pauses
    are cut to five seconds.
    """

    name = "recording"
    draws = True

    def __init__(
        self, path: Path, fps: float, *, live: bool, overwrite: bool = False, reserve_bytes: int = RESERVE_BYTES
    ) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise SinkError(
                f"cannot record {path}", found=path.suffix or "no suffix", remedy=f"name one of {', '.join(SUFFIXES)}"
            )
        if os.path.islink(path):
            raise SinkError(f"cannot record {path}", found="a symbolic link", remedy="name the file that it points to")
        if os.path.isdir(path):
            raise SinkError(f"cannot record {path}", found="a folder", remedy="name a file")
        if os.path.exists(path) and not overwrite:
            raise SinkError(f"{path} already exists", remedy="name another file, or add --overwrite")
        make_folder(path.parent)
        self.path, self.frames, self._reserve = path, 0, reserve_bytes
        self._live, self._fps = live, fps
        self._video: VideoFile | None = None
        self._codec = ""
        self._size_wh = (0, 0)
        self._captured_at_s = self._at_s = 0.0
        self._check_room()

    def show(self, result: FrameResult) -> None:
        from edge_segface.camera.video_file import VideoFileError

        image = result.drawn
        if self.frames % CHECK_EVERY == 0:
            self._check_room()
        try:
            video = self._video or self._open(image)
            video.write(letterbox(image, self._size_wh), self._time_of(result))
        except VideoFileError as error:
            self._video = None  # it has closed itself
            raise self._ended(error) from error
        self.frames += 1

    def close(self) -> None:
        from edge_segface.camera.video_file import VideoFileError

        video, self._video = self._video, None
        if video is not None:
            try:
                video.close()
            except VideoFileError as error:
                raise self._ended(error) from error

    def report(self) -> dict[str, Any]:
        return {"file": str(self.path), "codec": self._codec, "frames": self.frames}

    def _time_of(self, result: FrameResult) -> float:
        """Return when a frame appears in the video, in seconds from its start."""
        if not self._live:
            return self.frames / self._fps
        captured_at_s = result.frame.captured_at_s
        if self.frames:
            self._at_s += min(captured_at_s - self._captured_at_s, LONGEST_S)
        self._captured_at_s = captured_at_s
        return self._at_s

    def _open(self, image: UInt8Array) -> VideoFile:
        from edge_segface.camera.video_file import VideoFile

        height, width = image.shape[:2]
        self._size_wh = (width - width % 2, height - height % 2)  # codecs need even sides
        try:
            self.path.unlink(missing_ok=True)  # an earlier recording, with --overwrite
        except OSError as error:
            raise SinkError(f"cannot replace {self.path}", found=reason_of(error)) from error
        self._video = VideoFile(self.path, self._size_wh, self._fps)
        self._codec = self._video.codec
        return self._video

    def _ended(self, error: Exception) -> SinkError:
        return SinkError(f"the recording {self.path} ends after {self.frames} frames", found=error)

    def _check_room(self) -> None:
        """End the recording while there is still room to finish it."""
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise SinkError(f"the recording {self.path} ends", found=reason_of(error)) from error
        if free < self._reserve:
            ends = f"stops after {self.frames} frames" if self.frames else "does not begin"
            raise SinkError(
                f"the recording {self.path} {ends} because the disk is nearly full", found=f"{free >> 20} MB free"
            )


def letterbox(image: UInt8Array, size_wh: tuple[int, int]) -> UInt8Array:
    """Fit an image into a size, keeping its aspect ratio, on black."""
    height, width = image.shape[:2]
    if (width - width % 2, height - height % 2) == size_wh:
        return np.ascontiguousarray(image[: size_wh[1], : size_wh[0]])
    scale = min(size_wh[0] / width, size_wh[1] / height)
    small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))))
    whole = np.zeros((size_wh[1], size_wh[0], 3), dtype=np.uint8)
    top, left = (size_wh[1] - small.shape[0]) // 2, (size_wh[0] - small.shape[1]) // 2
    whole[top : top + small.shape[0], left : left + small.shape[1]] = small
    return whole
