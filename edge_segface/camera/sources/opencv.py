"""Cameras and network streams, read with OpenCV."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import numpy as np

from edge_segface.camera.sources.base import CameraRequest, Source
from edge_segface.errors import SourceError
from edge_segface.frames import UInt8Array
from edge_segface.redaction import redact

TIMEOUT_MS = 5000


class Capture:
    """A cv2.VideoCapture whose first frame has already been read, which gives the real frame size."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self._first = self._read()

    @property
    def size_wh(self) -> tuple[int, int] | None:
        """Size of the first frame; None if there was none, or if it has been handed out."""
        return None if self._first is None else (self._first.shape[1], self._first.shape[0])

    @property
    def fps(self) -> float:
        """Reported frame rate, or 30 if it is implausible."""
        reported = self.get(cv2.CAP_PROP_FPS)
        return reported if 1 <= reported <= 1000 else 30.0

    @property
    def codec(self) -> str:
        """Four-letter code of the pixel format, such as MJPG."""
        code = int(self.get(cv2.CAP_PROP_FOURCC))
        return code.to_bytes(4, "little", signed=True).decode("ascii", "replace").strip("\0")

    def get(self, property_id: int) -> float:
        return float(self._capture.get(property_id))

    def read(self) -> UInt8Array | None:
        frame, self._first = self._first, None
        return self._read() if frame is None else frame

    def close(self) -> None:
        self._capture.release()

    def _read(self) -> UInt8Array | None:
        success, frame = self._capture.read()
        return np.asarray(frame, dtype=np.uint8) if success else None


class OpenCVSource:
    """A live camera or stream. It never ends; a missing frame is an error."""

    live = True
    frames_independent = False
    frame_name: str | None = None

    def __init__(self, name: str, capture: Capture, description: str) -> None:
        self._name, self._capture, self.description = name, capture, description
        self.fps = capture.fps

    def read(self) -> UInt8Array:
        frame = self._capture.read()
        if frame is None:
            raise SourceError(f"{self._name} stopped delivering frames")
        return frame

    def close(self) -> None:
        self._capture.close()


def open_opencv_stream(url: str, timeout_ms: int = TIMEOUT_MS) -> Source:
    """Open a network camera with the FFmpeg that is part of OpenCV."""
    name = redact(url)
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
    capture = Capture(cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts))
    if (size_wh := capture.size_wh) is None:
        capture.close()
        remedy = "check the address, and that it plays in another program"
        raise SourceError(f"{name} does not deliver any frame", remedy=remedy)
    return OpenCVSource(name, capture, f"{name}, {size_wh[0]}x{size_wh[1]}, by FFmpeg")


def open_opencv_camera(number: int, request: CameraRequest) -> Source:
    """Open a local camera, as MJPEG if it can: uncompressed frames limit USB to a few frames a second."""
    linux = sys.platform == "linux"
    name = f"/dev/video{number}" if linux else f"camera {number}"
    if linux:
        check_video_device(Path(name))
    capture = Capture(configured_camera(number, cv2.CAP_V4L2 if linux else cv2.CAP_ANY, request))
    if (size_wh := capture.size_wh) is None:
        capture.close()
        raise SourceError(
            f"{name} does not open or does not deliver any frame; another program may be using it",
            remedy=f"list the programs that use it: fuser {name}" if linux else "close the other program",
        )
    requested = "" if size_wh == request.size_wh else f" (requested {request.size_wh[0]}x{request.size_wh[1]})"
    description = f"{name}, {size_wh[0]}x{size_wh[1]}{requested}, {capture.fps:.4g} FPS, {capture.codec}"
    return OpenCVSource(name, capture, description)


def configured_camera(number: int, backend: int, request: CameraRequest) -> cv2.VideoCapture:
    camera = cv2.VideoCapture(number, backend)
    for property_id, value in (
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, request.size_wh[0]),
        (cv2.CAP_PROP_FRAME_HEIGHT, request.size_wh[1]),
        (cv2.CAP_PROP_FPS, request.fps),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ):
        camera.set(property_id, value)
    return camera


def check_video_device(path: Path) -> None:
    """Raise if the V4L2 device does not exist or may not be opened by this user."""
    if not path.exists():
        devices = sorted(str(device) for device in Path("/dev").glob("video*"))
        raise SourceError(
            f"camera {path} not found",
            found=", ".join(devices) or "no /dev/video* devices",
            remedy="plug it in, or use a file or a stream; CSI cameras are csi://0",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"no permission to open {path}", remedy="run: sudo usermod -aG video $USER, and log in again")
