"""Where results go: a window, a video, masks, a web page (viewer/). A sink that fails ends alone; the loop goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from edge_segface.draw import captions, overlay
from edge_segface.errors import SinkError
from edge_segface.face.tracker import TrackedFace
from edge_segface.files import make_folder
from edge_segface.frames import ClassMap, Frame, UInt8Array
from edge_segface.image_io import write_image

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".mov": "mp4v", ".avi": "MJPG"}
RESERVE_BYTES = 64 << 20  # what a recording leaves of a disk, so that it can still be finished
CHECK_EVERY = 15  # frames
LONGEST_S = 5.0  # that one frame stays in a recording
FACE_BGR = (80, 220, 80)
ESCAPE = 27


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame with what was found in it; it is drawn once, when the first sink asks for it."""

    frame: Frame
    class_map: ClassMap
    faces: Sequence[TrackedFace]
    rates: Sequence[str]  # lines of text
    numbers: dict[str, Any] = field(default_factory=dict)
    opacity: float = 0.6

    @cached_property
    def drawn(self) -> UInt8Array:
        picture = overlay(self.frame.image_bgr, self.class_map, self.opacity)
        for face in self.faces:
            left, top, right, bottom = (round(edge) for edge in face.face.box_xyxy)
            cv2.rectangle(picture, (left, top), (right, bottom), FACE_BGR, 1)
        captions(picture, self.rates)
        return picture


class Sink(Protocol):
    """`show` and `close` are called in one thread. What cannot go on raises SinkError, and is closed."""

    name: str
    draws: bool  # whether it wants the frame with the classes drawn over it

    def show(self, shown: FrameResult) -> None: ...

    def close(self) -> None: ...


class Window:
    """A window. It is opened, refreshed and destroyed in the main thread, as the systems of windows want it."""

    name = "window"
    draws = True

    def __init__(self, title: str) -> None:
        self._title = title
        self._picture: UInt8Array | None = None
        check_display()
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        self._shown = False

    def show(self, shown: FrameResult) -> None:
        self._picture = shown.drawn

    def close(self) -> None:
        self._picture = None

    def refresh(self) -> bool:
        """Shows what is newest; False when the user has pressed `q` or closed it."""
        picture, self._picture = self._picture, None
        if picture is not None:
            if not self._shown:
                cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])
            cv2.imshow(self._title, picture)
            self._shown = True
        if cv2.waitKey(1) & 0xFF in (ord("q"), ESCAPE):
            return False
        return not self._shown or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def destroy(self) -> None:
        with suppress(cv2.error):  # closed by the user already
            cv2.destroyWindow(self._title)


def has_display() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def check_display() -> None:
    """Tries it in another process: where a display does not answer, or OpenCV has no windows, this one would abort."""
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
    """A video of what is drawn, in the size of the first frame; later ones of another size are fitted into it.

    Of a `live` source each result stays until the next, so that the video runs as fast as life did; a pause is cut to
    five seconds.
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
        self._due_s = 0.0  # when the next picture is to be shown, on the clock of the frames
        self._last: UInt8Array = np.empty(0, dtype=np.uint8)
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self.frames = 0
        self._check_room()

    def show(self, shown: FrameResult) -> None:
        picture = shown.drawn
        if self._writer is None:
            self._open(picture)
        if self.frames % CHECK_EVERY == 0:
            self._check_room()
        assert self._writer is not None
        picture = fitted(picture, self._size_wh)
        if self._live:
            for _ in range(self._late(shown.frame.captured_at_s)):
                self._writer.write(self._last)
        self._writer.write(picture)
        self._last = picture
        self.frames += 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _late(self, captured_at_s: float) -> int:
        """How often the picture before is to be shown again, so that this one comes when it was taken."""
        if not self.frames:
            self._due_s = captured_at_s
        late_s = min(captured_at_s - self._due_s, LONGEST_S)
        again = max(0, round(late_s * self._fps))
        self._due_s = max(self._due_s, captured_at_s - late_s) + (again + 1) / self._fps
        return again

    def _open(self, picture: UInt8Array) -> None:
        height, width = picture.shape[:2]
        self._size_wh = (width - width % 2, height - height % 2)  # codecs want even sides
        code = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(self.path), code, self._fps, self._size_wh)
        if not self._writer.isOpened():
            self._writer = None
            raise SinkError(f"cannot record {self.path}", remedy="name a place that you may write to")

    def _check_room(self) -> None:
        """OpenCV says nothing of a disk that is full, and then the whole video is lost."""
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise SinkError(f"the recording {self.path} ends", found=error.strerror or error) from error
        if free < self._reserve:
            ends = f"stops after {self.frames} frames" if self.frames else "does not begin"
            raise SinkError(
                f"the recording {self.path} {ends}, as the disk is nearly full", found=f"{free >> 20} MB free"
            )


class Masks:
    """NNNNNN.png: a class id for every pixel of every frame."""

    name = "masks"
    draws = False

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder = folder

    def show(self, shown: FrameResult) -> None:
        write_image(shown.class_map.labels, self._folder / f"{shown.frame.index:06d}.png")

    def close(self) -> None:
        pass


def fitted(picture: UInt8Array, size_wh: tuple[int, int]) -> UInt8Array:
    """The picture in so many pixels, in proportion, black around it."""
    height, width = picture.shape[:2]
    if (width - width % 2, height - height % 2) == size_wh:
        return np.ascontiguousarray(picture[: size_wh[1], : size_wh[0]])
    scale = min(size_wh[0] / width, size_wh[1] / height)
    small = cv2.resize(picture, (max(1, round(width * scale)), max(1, round(height * scale))))
    whole = np.zeros((size_wh[1], size_wh[0], 3), dtype=np.uint8)
    top, left = (size_wh[1] - small.shape[0]) // 2, (size_wh[0] - small.shape[1]) // 2
    whole[top : top + small.shape[0], left : left + small.shape[1]] = small
    return whole
