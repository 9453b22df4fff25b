"""Where results go: a window, a recording, masks, a web page (viewer/).

A failing sink is removed; the loop continues.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edge_segface.camera.result import FrameResult
from edge_segface.errors import SinkError
from edge_segface.files import make_folder
from edge_segface.frames import UInt8Array
from edge_segface.image_io import write_image

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".mov": "mp4v", ".avi": "MJPG"}
RESERVE_BYTES = 64 << 20  # disk space left free, so that the recording can still be finished
CHECK_EVERY = 15  # frames
LONGEST_S = 5.0  # longest time that one frame stays in a recording
ESCAPE = 27


class Sink(Protocol):
    """Receives results; `show` and `close` run in one thread. A sink that cannot continue raises SinkError."""

    name: str
    draws: bool  # whether it needs the frame with the classes drawn over it

    def show(self, result: FrameResult) -> None: ...

    def close(self) -> None: ...


class Window:
    """A window. Only the main thread opens, refreshes and destroys it, as window systems require."""

    name = "window"
    draws = True

    def __init__(self, title: str) -> None:
        self._title = title
        self._image: UInt8Array | None = None
        check_display()
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        self._opened = False

    def show(self, result: FrameResult) -> None:
        self._image = result.drawn

    def close(self) -> None:
        self._image = None

    def refresh(self) -> bool:
        """Show the newest frame; return False once the user pressed `q` or closed the window."""
        image, self._image = self._image, None
        if image is not None:
            if not self._opened:
                cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
            cv2.imshow(self._title, image)
            self._opened = True
        if cv2.waitKey(1) & 0xFF in (ord("q"), ESCAPE):
            return False
        return not self._opened or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def destroy(self) -> None:
        with suppress(cv2.error):  # already closed by the user
            cv2.destroyWindow(self._title)


def has_display() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def check_display() -> None:
    """Try to open a window in another process, because OpenCV aborts if the display does not answer."""
    code = "import cv2; cv2.namedWindow('x'); cv2.waitKey(1)"
    try:
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)  # noqa: S603
        failed = tried.returncode != 0
    except subprocess.TimeoutExpired:
        failed = True
    if failed:
        display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "no display"
        raise SinkError("no window can be opened", found=display, remedy="use --headless, with --serve for a page")


class Recording:
    """A video of the drawn frames, in the size of the first; later frames of another size are fitted into it.

    Results of a live source stay until the next one, so the video plays at real-time speed; pauses are cut to five
    seconds.
    """

    name = "recording"
    draws = True

    def __init__(self, path: Path, fps: float, *, live: bool, reserve_bytes: int = RESERVE_BYTES) -> None:
        if path.suffix.lower() not in CODECS:
            raise SinkError(
                f"cannot record {path}", found=path.suffix or "no suffix", remedy=f"name one of {', '.join(CODECS)}"
            )
        make_folder(path.parent)
        self.path, self._fps, self._live, self._reserve = path, fps, live, reserve_bytes
        self._due_s = 0.0  # when the next frame is due, on the clock of the frames
        self._last: UInt8Array = np.empty(0, dtype=np.uint8)
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self.frames = 0
        self._check_room()

    def show(self, result: FrameResult) -> None:
        image = result.drawn
        if self._writer is None:
            self._open(image)
        if self.frames % CHECK_EVERY == 0:
            self._check_room()
        assert self._writer is not None
        image = letterbox(image, self._size_wh)
        if self._live:
            for _ in range(self._repeats(result.frame.captured_at_s)):
                self._writer.write(self._last)
        self._writer.write(image)
        self._last = image
        self.frames += 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _repeats(self, captured_at_s: float) -> int:
        """Return how many times to repeat the previous frame, so that this one appears at its time."""
        if not self.frames:
            self._due_s = captured_at_s
        late_s = min(captured_at_s - self._due_s, LONGEST_S)
        again = max(0, round(late_s * self._fps))
        self._due_s = max(self._due_s, captured_at_s - late_s) + (again + 1) / self._fps
        return again

    def _open(self, image: UInt8Array) -> None:
        height, width = image.shape[:2]
        self._size_wh = (width - width % 2, height - height % 2)  # codecs need even sides
        code = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(self.path), code, self._fps, self._size_wh)
        if not self._writer.isOpened():
            self._writer = None
            raise SinkError(f"cannot record {self.path}", remedy="choose a writable place")

    def _check_room(self) -> None:
        """End the recording in time: OpenCV does not report a full disk, and the whole video would be lost."""
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise SinkError(f"the recording {self.path} ends", found=error.strerror or error) from error
        if free < self._reserve:
            ends = f"stops after {self.frames} frames" if self.frames else "does not begin"
            raise SinkError(
                f"the recording {self.path} {ends} because the disk is nearly full", found=f"{free >> 20} MB free"
            )


class Masks:
    """Writes NNNNNN.png, one class id per pixel, for every frame."""

    name = "masks"
    draws = False

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder = folder

    def show(self, result: FrameResult) -> None:
        write_image(result.class_map.labels, self._folder / f"{result.frame.index:06d}.png")

    def close(self) -> None:
        pass


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
