"""Where frames come from: the grammar of --source, and a small class for each kind.

A source is opened by making it, and gives BGR frames until None, which is the end of a file. What breaks off raises a
SourceError; of a `live` source the newest frame counts, and the loop opens it again.
"""

from __future__ import annotations

import math
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from edge_segface.assets import PORTRAIT
from edge_segface.camera.sources.gstreamer import GstSource, Pipeline, has_element, user_pipeline
from edge_segface.errors import SourceError
from edge_segface.frames import MAX_SIDE, MIN_SIDE, UInt8Array
from edge_segface.image_io import SUFFIXES, find_images, read_image

TIMEOUT_MS = 5000
LONGEST = 1000  # characters of a name
GRAMMAR = "a number or /dev/videoN, csi://N, rtsp://, http://, gst:PIPELINE, a video, pictures, or demo"


class Source(Protocol):
    live: bool
    apart: bool  # whether its pictures have nothing to do with one another
    fps: float  # that it is meant to be seen at
    description: str

    def read(self) -> UInt8Array | None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class CameraRequest:
    """What is asked of a camera; it may grant something else."""

    size_wh: tuple[int, int] = (640, 480)
    fps: float = 30.0
    stop: threading.Event = field(default_factory=threading.Event)  # ends the wait for a camera that does not come


def size_from(text: str) -> tuple[int, int]:
    if not (found := re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text)):
        raise SourceError(f"{text!r} is no size", remedy="say WIDTHxHEIGHT, such as 1280x720")
    size_wh = int(found[1]), int(found[2])
    if not MIN_SIDE <= min(size_wh) <= max(size_wh) <= MAX_SIDE:
        raise SourceError(f"{text} is no size of a picture", remedy=f"{MIN_SIDE} to {MAX_SIDE} pixels a side")
    return size_wh


def open_source(text: str, wanted: CameraRequest | None = None) -> Source:
    wanted = wanted or CameraRequest()
    if text == "demo":
        return DemoSource(wanted.size_wh)
    if text.startswith("gst:"):
        pipelines = [user_pipeline(text.removeprefix("gst:"))]
        return GstSource("the pipeline", pipelines, endless=False, stop=wanted.stop)
    if found := re.fullmatch(r"csi://(\d+)", text):
        return GstSource(f"CSI camera {found[1]}", csi_pipelines(int(found[1]), wanted), stop=wanted.stop)
    if text.startswith(("rtsp://", "rtsps://")):
        return open_rtsp(text, wanted.stop)
    if text.startswith(("http://", "https://")):
        return open_stream(text)
    if found := re.fullmatch(r"(?:v4l2://)?/dev/video(\d+)|(\d+)", text):
        return open_usb(int(found[1] or found[2]), wanted)
    if not text or len(text) > LONGEST or ("://" in text and not text.startswith("file://")):
        raise SourceError(f"{text[:80]!r} is no source", remedy=f"give {GRAMMAR}")
    return open_files(text.removeprefix("file://"))


def shows_images(text: str) -> bool:
    """Whether a source is a picture, or a folder or glob of them."""
    path = Path(text)
    if path.suffix.lower() in SUFFIXES or path.is_dir():
        return True
    return not path.is_file() and any(sign in text for sign in "*?[")


def open_files(text: str) -> Source:
    path = Path(text)
    if shows_images(text):
        return ImageSource(text)
    if not path.exists():
        raise SourceError(f"{text} does not exist", remedy=f"give {GRAMMAR}")
    return VideoSource(path)


class DemoSource:
    """The built-in picture before a camera that wanders, turns, comes near and now and then looks away.

    What it shows is a function of the number of the frame alone, and `truth` says where the face is in it.
    """

    live = apart = False
    fps = 30.0
    FACE_XYXY = (128.0, 60.0, 234.0, 190.0)  # in the picture: brow to chin, ear to ear

    def __init__(self, size_wh: tuple[int, int] = (640, 480), *, leaves: bool = False) -> None:
        self.size_wh = size_wh
        self._picture = read_image(PORTRAIT)
        self._numbers: Iterator[int] = count()
        self._leaves = leaves
        self.description = f"the built-in clip, {size_wh[0]}x{size_wh[1]}"

    def read(self) -> UInt8Array:
        matrix = self.matrix(next(self._numbers))
        frame = cv2.warpAffine(
            self._picture, matrix, self.size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(frame, dtype=np.uint8)

    def close(self) -> None:
        pass

    def matrix(self, number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Picture -> frame. With `leaves` the face is out of sight for a part of every ten seconds (at 30 a second)."""
        width, height = self.size_wh
        time_s = number / 30
        scale = height / 352 * (1.05 + 0.3 * math.sin(0.9 * time_s))
        angle = math.radians(12 * math.sin(1.3 * time_s))
        x = width / 2 + 0.16 * width * math.sin(0.7 * time_s)
        y = height / 2 + 0.1 * height * math.sin(1.1 * time_s)
        if self._leaves:  # out to the left, gone for two seconds, and in again
            phase = time_s % 10
            x -= 1.6 * width * min(max(phase - 5, 0), max(9 - phase, 0), 1)
        cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
        middle = (181.0, 135.0)
        return np.array(
            [
                [cosine, -sine, x - cosine * middle[0] + sine * middle[1]],
                [sine, cosine, y - sine * middle[0] - cosine * middle[1]],
            ]
        )

    def truth(self, number: int) -> tuple[float, float, float, float]:
        """The face's box in a frame, which may lie outside of it."""
        left, top, right, bottom = self.FACE_XYXY
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        matrix = self.matrix(number)
        moved = corners @ matrix[:, :2].T + matrix[:, 2]
        (x0, y0), (x1, y1) = moved.min(axis=0), moved.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)


class ImageSource:
    """Pictures one after another; what cannot be read is an error."""

    live = False
    fps = 5.0
    apart = True

    def __init__(self, text: str) -> None:
        paths = find_images([text])
        self._paths = iter(paths)
        self.description = f"{len(paths)} pictures of {text}" if len(paths) > 1 else str(paths[0])

    def read(self) -> UInt8Array | None:
        path = next(self._paths, None)
        return None if path is None else read_image(path)

    def close(self) -> None:
        pass


class Capture:
    """OpenCV's capture, opened as far as its first frame."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self._first = self._next()

    @property
    def size_wh(self) -> tuple[int, int] | None:
        """Of the first frame, if there is one that has not been read yet."""
        return None if self._first is None else (self._first.shape[1], self._first.shape[0])

    def number(self, name: int) -> float:
        return float(self._capture.get(name))

    def read(self) -> UInt8Array | None:
        frame, self._first = self._first, None
        return self._next() if frame is None else frame

    def close(self) -> None:
        self._capture.release()

    def _next(self) -> UInt8Array | None:
        there, frame = self._capture.read()
        return np.asarray(frame, dtype=np.uint8) if there else None


def rate_of(capture: Capture) -> float:
    """What is said of it, if that can be."""
    rate = capture.number(cv2.CAP_PROP_FPS)
    return rate if 1 <= rate <= 1000 else 30.0


class VideoSource:
    """Every frame of a video file."""

    live = apart = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._capture = Capture(cv2.VideoCapture(str(path)))
        size_wh = self._capture.size_wh
        if size_wh is None or min(size_wh) < MIN_SIDE:
            self._capture.close()
            if size_wh is not None:
                raise SourceError(f"{path} is too small to show a face", found=f"{size_wh[0]}x{size_wh[1]}")
            raise SourceError(
                f"no frame of {path} can be read, perhaps cut short or no video",
                found=f"{path.stat().st_size} bytes",
                remedy="check that it plays elsewhere",
            )
        self._promised = int(self._capture.number(cv2.CAP_PROP_FRAME_COUNT))
        self._given = 0
        self.fps = rate_of(self._capture)
        self.description = f"{path}, {size_wh[0]}x{size_wh[1]}, {self.fps:.4g} FPS"

    def read(self) -> UInt8Array | None:
        frame = self._capture.read()
        if frame is None and self._given < 0.9 * self._promised:  # what a container promises is rarely exact
            raise SourceError(
                f"{self._path} ends early, perhaps cut short", found=f"{self._given} of {self._promised} frames"
            )
        self._given += 1
        return frame

    def close(self) -> None:
        self._capture.close()


class CameraSource:
    """A camera by OpenCV: it has no end, and breaks off instead."""

    live = True
    apart = False

    def __init__(self, name: str, capture: Capture, description: str) -> None:
        self._name, self._capture, self.description = name, capture, description
        self.fps = rate_of(capture)

    def read(self) -> UInt8Array:
        frame = self._capture.read()
        if frame is None:
            raise SourceError(f"{self._name} broke off")
        return frame

    def close(self) -> None:
        self._capture.close()


def open_stream(url: str) -> Source:
    """A camera of the network, by the FFmpeg in OpenCV."""
    name = redact_credentials(url)
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
    capture = Capture(cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts))
    if (size_wh := capture.size_wh) is None:
        capture.close()
        raise SourceError(f"{name} gives no picture", remedy="check the address, and that it plays elsewhere")
    return CameraSource(name, capture, f"{name}, {size_wh[0]}x{size_wh[1]}, by FFmpeg")


def open_v4l2(number: int, wanted: CameraRequest) -> Source:
    """A camera on USB, as MJPEG where it has that: raw pictures fill the wire at a few frames a second."""
    linux = sys.platform == "linux"
    name = f"/dev/video{number}" if linux else f"camera {number}"
    if linux:
        check_device(Path(name))
    camera = cv2.VideoCapture(number, cv2.CAP_V4L2 if linux else cv2.CAP_ANY)
    for what, value in (
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, wanted.size_wh[0]),
        (cv2.CAP_PROP_FRAME_HEIGHT, wanted.size_wh[1]),
        (cv2.CAP_PROP_FPS, wanted.fps),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ):
        camera.set(what, value)
    capture = Capture(camera)
    if (size_wh := capture.size_wh) is None:
        capture.close()
        raise SourceError(
            f"{name} does not open or gives no picture; another program may be using it",
            remedy=f"see who: fuser {name}" if linux else "close what else uses it",
        )
    granted = int(capture.number(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True).decode("ascii", "replace")
    asked = "" if size_wh == wanted.size_wh else f" (asked for {wanted.size_wh[0]}x{wanted.size_wh[1]})"
    words = f"{name}, {size_wh[0]}x{size_wh[1]}{asked}, {rate_of(capture):.4g} FPS, {granted.strip(chr(0))}"
    return CameraSource(name, capture, words)


def check_device(path: Path) -> None:
    if not path.exists():
        there = sorted(str(other) for other in Path("/dev").glob("video*"))
        raise SourceError(
            f"there is no camera {path}",
            found=", ".join(there) or "no /dev/video* at all",
            remedy="plug it in, or give a file or a stream; CSI cameras are csi://0",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"you may not open {path}", remedy="run: sudo usermod -aG video $USER, and log in again")


def open_usb(number: int, wanted: CameraRequest) -> Source:
    """Decoded by hardware on Jetson boards; elsewhere, and where that fails, by OpenCV."""
    if has_element("nvv4l2decoder"):
        check_device(Path(f"/dev/video{number}"))
        try:
            return GstSource(f"/dev/video{number}", [usb_pipeline(number, wanted)], stop=wanted.stop)
        except SourceError:
            return open_v4l2(number, wanted)
    return open_v4l2(number, wanted)


def open_rtsp(url: str, stop: threading.Event) -> Source:
    """By GStreamer, with hardware first; by FFmpeg where there is no GStreamer or it gives nothing."""
    try:
        return GstSource(redact_credentials(url), rtsp_pipelines(url), stop=stop)
    except SourceError as first:
        if stop.is_set():
            raise
        try:
            return open_stream(url)
        except SourceError as second:
            raise SourceError(
                second.what, found=str(first).replace(url, redact_credentials(url)), remedy=second.remedy
            ) from first


def csi_pipelines(number: int, wanted: CameraRequest) -> list[Pipeline]:
    """NVIDIA's, and libcamera's on other boards."""
    width, height = wanted.size_wh
    caps = f"video/x-raw(memory:NVMM),width={width},height={height},framerate={round(wanted.fps)}/1,format=NV12"
    plain = f"video/x-raw,width={width},height={height},framerate={round(wanted.fps)}/1"
    return [
        Pipeline(
            "nvarguscamerasrc",
            ("nvarguscamerasrc", "nvvidconv"),
            ("nvarguscamerasrc", f"sensor-id={number}", "!", caps, "!", "nvvidconv", "!", "video/x-raw,format=I420"),
        ),
        Pipeline("libcamerasrc", ("libcamerasrc",), ("libcamerasrc", "!", plain)),
    ]


def usb_pipeline(number: int, wanted: CameraRequest) -> Pipeline:
    width, height = wanted.size_wh
    caps = f"image/jpeg,width={width},height={height},framerate={round(wanted.fps)}/1"
    return Pipeline(
        "hardware MJPEG by nvv4l2decoder",
        ("v4l2src", "nvv4l2decoder", "nvvidconv"),
        (
            *("v4l2src", f"device=/dev/video{number}", "!", caps, "!", "jpegparse", "!"),
            *("nvv4l2decoder", "mjpeg=1", "!", "nvvidconv", "!", "video/x-raw,format=I420"),
        ),
    )


def rtsp_pipelines(url: str) -> list[Pipeline]:
    source = ("rtspsrc", f"location={url}", "latency=100", "protocols=tcp", "!")
    after = ("nvv4l2decoder", "enable-max-performance=1", "!", "nvvidconv", "!", "video/x-raw,format=I420")
    return [
        *(
            Pipeline(
                f"hardware {codec.upper()} by nvv4l2decoder",
                ("nvv4l2decoder", "nvvidconv"),
                (*source, f"rtp{codec}depay", "!", f"{codec}parse", "!", *after),
            )
            for codec in ("h264", "h265")
        ),
        Pipeline("software", ("rtspsrc",), (*source, "decodebin")),
    ]


def redact_credentials(url: str) -> str:
    """The address without user and password, for people to read."""
    return re.sub(r"//.*@", "//", url)
