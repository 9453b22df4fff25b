"""Where results go: a window, a video, masks, a web page (viewer/). A sink that fails ends alone; the loop goes on."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from edge_segface.camera.tracker import Parsed
from edge_segface.draw import captions, overlay
from edge_segface.errors import SinkError
from edge_segface.files import make_folder
from edge_segface.frames import ClassMap, Frame, UInt8Array
from edge_segface.pictures import write_picture

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".mov": "mp4v", ".avi": "MJPG"}
RESERVE_BYTES = 64 << 20  # what a recording leaves of a disk, so that it can still be finished
CHECK_EVERY = 15  # frames
LONGEST_S = 5.0  # that one frame stays in a recording
FACE_BGR = (80, 220, 80)


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame with what was found in it; it is drawn once, when the first sink asks for it."""

    frame: Frame
    class_map: ClassMap
    faces: Sequence[Parsed]
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
    """`show` returns whether to go on: a window whose user pressed `q` says no. What cannot go on raises SinkError."""

    name: str
    draws: bool  # whether it wants the frame with the classes drawn over it

    def show(self, shown: Shown) -> bool: ...

    def close(self) -> None: ...


def has_display() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class Window:
    name = "window"
    draws = True

    def __init__(self, title: str) -> None:
        self._title = title
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        except cv2.error as error:  # headless builds of OpenCV have none
            raise SinkError(
                "no window can be opened", found="this OpenCV has none", remedy="use --headless, or --serve"
            ) from error

    def show(self, shown: Shown) -> bool:
        cv2.imshow(self._title, shown.drawn)
        return cv2.waitKey(1) & 0xFF not in (ord("q"), 27)

    def close(self) -> None:
        cv2.destroyWindow(self._title)


class Recording:
    """A video of what is drawn, in the size of the first frame; later ones of another size are fitted into it.

    Of a `live` source each result stays on the screen until the next, so that the video runs as fast as life did.
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
        self._end_s = 0.0  # of what is written, on the clock of the frames
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        self.frames = 0
        self._check_room()

    def show(self, shown: Shown) -> bool:
        picture = shown.drawn
        if self._writer is None:
            self._open(picture)
        if self.frames % CHECK_EVERY == 0:
            self._check_room()
        assert self._writer is not None
        picture = fitted(picture, self._size_wh)
        for _ in range(self._times(shown.frame.captured_at_s) if self._live else 1):
            self._writer.write(picture)
        self.frames += 1
        return True

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _times(self, captured_at_s: float) -> int:
        """How often a frame is written: not at all if it came early, several times if it is late."""
        if not self.frames or captured_at_s - self._end_s > LONGEST_S:  # nobody wants to see a pause of minutes
            self._end_s = captured_at_s
        times = max(0, math.floor((captured_at_s - self._end_s) * self._fps) + 1)
        self._end_s += times / self._fps
        return times

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
        free = shutil.disk_usage(self.path.parent).free
        if free < self._reserve:
            raise SinkError(
                f"the recording {self.path} stops after {self.frames} frames, as the disk is nearly full",
                found=f"{free >> 20} MB free",
            )


class Masks:
    """NNNNNN.png: a class id for every pixel of every frame."""

    name = "masks"
    draws = False

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder = folder

    def show(self, shown: Shown) -> bool:
        write_picture(shown.class_map.labels, self._folder / f"{shown.frame.index:06d}.png")
        return True

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
